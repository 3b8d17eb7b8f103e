//! Addresses of push gateways.
//! Source: Matrix specification, `POST /pushers/set` and "Push Gateway API".

use http::Uri;

/// Path of every push gateway, which the specification prescribes.
const PATH: &str = "/_matrix/push/v1/notify";

/// Maximum length of the URL of a gateway in bytes.
const MAX_URL: usize = 1024;

/// Checks the URL of a push gateway, and returns it in its parts.
///
/// # Errors
/// Returns a sentence that says what is wrong.
pub(crate) fn check_gateway(url: &str) -> Result<Uri, String> {
    if url.len() > MAX_URL {
        return Err(format!("the URL of a push gateway can have at most {MAX_URL} bytes"));
    }
    let uri = url.parse::<Uri>().map_err(|error| format!("data.url is not a URL: {error}"))?;
    let by_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if !by_http || uri.host().is_none_or(str::is_empty) || has_user {
        return Err("data.url must be https://HOST".to_owned() + PATH);
    }
    if uri.path() != PATH {
        return Err(format!("data.url must have the path {PATH}"));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_has_the_path_of_the_specification() {
        for good in ["https://a.org/_matrix/push/v1/notify", "http://[::1]:8080/_matrix/push/v1/notify?x=1"] {
            assert!(check_gateway(good).is_ok(), "{good}");
        }
        let long = format!("https://{}.org{PATH}", "a".repeat(MAX_URL));
        let others = ["", "a.org", "ftp://a.org/_matrix/push/v1/notify", "https://u@a.org/_matrix/push/v1/notify"];
        for bad in others.into_iter().chain(["https://a.org/", long.as_str()]) {
            assert!(check_gateway(bad).is_err(), "{bad}");
        }
    }
}
