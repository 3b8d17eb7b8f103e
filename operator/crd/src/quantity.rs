use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The string is not a quantity of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid quantity: use a number with a unit, such as 10Gi")]
pub struct QuantityError(String);

/// Converts a quantity to bytes, rounded up, as Kubernetes compares quantities.
///
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
///
/// # Errors
/// Fails if the string is not a quantity, or if the quantity is negative or beyond 2^63.
pub fn parse_quantity(quantity: &Quantity) -> Result<u64, QuantityError> {
    let text = quantity.0.as_str();
    let error = || QuantityError(text.to_owned());
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    // Quantities have at most 15 significant digits, which a float preserves.
    let number: f64 = number.parse().map_err(|_| error())?;
    let bytes = (number * unit_factor(unit).ok_or_else(error)?).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    if bytes < 9.2e18 { Ok(bytes as u64) } else { Err(error()) }
}

fn unit_factor(unit: &str) -> Option<f64> {
    let binary = |power: i32| Some(1024_f64.powi(power));
    let decimal = |power: i32| Some(10_f64.powi(power));
    match unit {
        "" => Some(1.0),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => match exponent.strip_prefix(['e', 'E'])?.parse::<i32>() {
            Ok(power @ 0..=18) => decimal(power),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(parse_quantity(&Quantity(text.into())).ok(), expected, "{text:?}");
    }

    #[test]
    fn units_are_understood() {
        check("1Gi", Some(1 << 30));
        check("1.5Gi", Some(3 << 29));
        check("1G", Some(1_000_000_000));
        check("1e3", Some(1000));
        check("100", Some(100));
        check("1500m", Some(2));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "Gi", "1GiB", "ten", "-1Gi", "9Ei"] {
            check(text, None);
        }
    }
}
