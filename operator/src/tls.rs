//! Certificates of the peer listener: a CA for each cluster, one certificate that its pods share, and one for
//! administrators. A URI says whose a certificate is, and chatd lets neither holder do what is reserved for the other.

use crate::names::PEER_DOMAIN;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};

/// Years that a CA is valid; a cluster that lives longer is given a new one by hand.
const AUTHORITY_YEARS: i16 = 20;
/// Years that a certificate is valid. It is renewed after two thirds of that time.
const CERTIFICATE_YEARS: i16 = 3;
/// Days before its end at which a certificate is renewed.
const RENEW_BEFORE_DAYS: i64 = 365;

/// Certificate authority (CA): certificate and key, PEM-encoded.
#[derive(Clone)]
pub struct CertificateAuthority {
    /// Certificate of the CA.
    pub certificate: String,
    /// Private key of the CA.
    pub key: String,
}

/// Holder of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateHolder {
    /// The pods, which are both servers and clients of each other.
    Pods,
    /// The operator and users of `chatctl`, which nobody connects to.
    Administrator,
}

impl CertificateHolder {
    /// Returns the URI from which chatd reads the role (`chatd/src/tls/holder.rs`).
    fn uri(self, cluster: &str) -> String {
        match self {
            Self::Pods => format!("quorate://cluster/{cluster}/peer/pods"),
            Self::Administrator => format!("quorate://cluster/{cluster}/admin/operator"),
        }
    }
}

/// Certificate for the peer listener with its key, PEM-encoded.
#[derive(Clone)]
pub struct PeerCertificate {
    pub certificate: String,
    pub key: String,
    /// Time at which the certificate must be renewed.
    pub renew_at: Timestamp,
}

/// Creates a CA.
///
/// # Errors
/// Fails if the system provides no randomness.
pub fn create_authority(cluster: &str, now: Timestamp) -> Result<CertificateAuthority, rcgen::Error> {
    let mut params = CertificateParams::default();
    set_validity(&mut params, now, AUTHORITY_YEARS);
    params.distinguished_name.push(DnType::CommonName, format!("Quorate peers of {cluster}"));
    // Path length 0: the CA signs pods, but nothing that could sign in turn.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    Ok(CertificateAuthority { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// Issues a certificate. `cluster` is the name of the cluster in its certificates.
///
/// # Errors
/// Fails if the PEM of the CA is damaged, or if the system provides no randomness.
pub fn issue_certificate(
    authority: &CertificateAuthority,
    cluster: &str,
    holder: CertificateHolder,
    now: Timestamp,
) -> Result<PeerCertificate, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::URI(holder.uri(cluster).try_into()?));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if holder == CertificateHolder::Pods {
        params.subject_alt_names.push(SanType::DnsName(PEER_DOMAIN.try_into()?));
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    set_validity(&mut params, now, CERTIFICATE_YEARS);
    params.distinguished_name.push(DnType::CommonName, PEER_DOMAIN);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let key = KeyPair::generate()?;
    let end = now.to_zoned(TimeZone::UTC).saturating_add(i64::from(CERTIFICATE_YEARS).years());
    Ok(PeerCertificate {
        certificate: params.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
        renew_at: end.saturating_sub(RENEW_BEFORE_DAYS.days()).timestamp(),
    })
}

/// Sets the validity, which begins yesterday because the clocks of nodes differ.
fn set_validity(params: &mut CertificateParams, now: Timestamp, years: i16) {
    let begin = now.to_zoned(TimeZone::UTC).date().saturating_sub(1.days());
    let end = begin.saturating_add(i64::from(years).years());
    let date = |date: jiff::civil::Date| {
        // Months and days of a date are small and positive.
        #[allow(clippy::cast_sign_loss)]
        let (month, day) = (date.month() as u8, date.day() as u8);
        date_time_ymd(i32::from(date.year()), month, day)
    };
    params.not_before = date(begin);
    params.not_after = date(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    };

    fn now() -> Timestamp {
        "2026-02-28T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn a_certificate_makes_a_client_that_trusts_its_authority() {
        let authority = create_authority("team", now()).expect("an authority");
        let leaf =
            issue_certificate(&authority, "chat.team", CertificateHolder::Administrator, now()).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).expect("PEM")).expect("a root");
        let chain = vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("PEM");
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("certificate and key belong together");
    }

    #[test]
    fn renewal_comes_well_before_the_end() {
        let authority = create_authority("team", now()).expect("an authority");
        let leaf = issue_certificate(&authority, "chat.team", CertificateHolder::Pods, now()).expect("a certificate");
        let begin: Timestamp = "2028-01-01T00:00:00Z".parse().expect("a time");
        let end: Timestamp = "2028-04-01T00:00:00Z".parse().expect("a time");
        assert!(leaf.renew_at > begin && leaf.renew_at < end, "{}", leaf.renew_at);
    }

    #[test]
    fn a_damaged_authority_is_refused() {
        let broken = CertificateAuthority { certificate: "no".into(), key: "no".into() };
        assert!(issue_certificate(&broken, "chat.team", CertificateHolder::Pods, now()).is_err());
    }
}
