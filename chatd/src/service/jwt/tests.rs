use super::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use serde_json::json;

const NOW_MS: u64 = 1_700_000_000_000;
const NOW: u64 = NOW_MS / 1000;

fn encode(alg: &str, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(&json!({"alg": alg, "typ": "JWT"})), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn with_secret(alg: &str, secret: &str, claims: &Value) -> String {
    encode(alg, claims, |message| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message).as_ref().to_vec()
    })
}

fn policy(key: JwtKey) -> JwtPolicy {
    JwtPolicy { key, issuer: None, audiences: Vec::new(), leeway: Duration::from_secs(60) }
}

fn secret_policy() -> JwtPolicy {
    policy(JwtKey::read(JwtAlgorithm::Hs256, "secret").unwrap())
}

/// Returns the public key of a key pair as PEM.
fn public_pem(pair: &rcgen::KeyPair) -> String {
    pair.public_key_pem()
}

#[test]
fn a_token_that_was_signed_with_the_secret_names_its_subject() {
    let claims = json!({"sub": "alice", "exp": NOW + 10, "iat": NOW - 10});
    let token = with_secret("HS256", "secret", &claims);
    assert_eq!(secret_policy().subject(&token, NOW_MS).unwrap(), "alice");
    for wrong in [
        with_secret("HS256", "other", &claims),
        with_secret("none", "secret", &claims),
        with_secret("HS512", "secret", &claims),
        with_secret("HS256", "secret", &json!({"exp": NOW + 10})),
        with_secret("HS256", "secret", &json!({"sub": 1})),
        format!("{token}x"),
        token.replace('.', ""),
        String::new(),
        "x".repeat(MAX_BYTES + 1),
    ] {
        let refused = secret_policy().subject(&wrong, NOW_MS).unwrap_err();
        assert_eq!(refused.code, RefusalCode::WrongCredentials, "{wrong}");
    }
}

#[test]
fn tokens_of_a_provider_are_verified_with_its_public_key() {
    let claims = json!({"sub": "alice"});
    let random = SystemRandom::new();
    let edwards = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let ed_signer = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&edwards.serialize_der()).unwrap();
    let ed_token = encode("EdDSA", &claims, |message| ed_signer.sign(message).as_ref().to_vec());
    let ed_policy = policy(JwtKey::read(JwtAlgorithm::EdDsa, &public_pem(&edwards)).unwrap());
    assert_eq!(ed_policy.subject(&ed_token, NOW_MS).unwrap(), "alice");

    let curve = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let ec_signer =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &curve.serialize_der(), &random).unwrap();
    let ec_policy = policy(JwtKey::read(JwtAlgorithm::Es256, &public_pem(&curve)).unwrap());
    // Many, because the numbers of a signature differ in length as ASN.1 has them.
    for _ in 0..200 {
        let ec_token = encode("ES256", &claims, |message| ec_signer.sign(&random, message).unwrap().as_ref().to_vec());
        assert_eq!(ec_policy.subject(&ec_token, NOW_MS).unwrap(), "alice");
        assert!(ed_policy.subject(&ec_token, NOW_MS).is_err());
    }
    assert!(ec_policy.subject(&ed_token, NOW_MS).is_err());
    // The public key is no secret: it must not count as one.
    let forged = with_secret("HS256", &public_pem(&curve), &claims);
    assert!(ec_policy.subject(&forged, NOW_MS).is_err());
    assert!(JwtKey::read(JwtAlgorithm::Rs256, "no key").is_err());
}

#[test]
fn a_token_of_rfc_7515_is_verified_with_its_rsa_key() {
    // RFC 7515, appendix A.2: the key as PEM, and the token.
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n\
        NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n\
        P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n\
        9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n\
        EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n\
        FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n\
        oQIDAQAB\n-----END PUBLIC KEY-----\n";
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
        cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh\
        -0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjt\
        QBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipU\
        TI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let policy = policy(JwtKey::read(JwtAlgorithm::Rs256, PUBLIC).unwrap());
    let refused = policy.subject(TOKEN, 1_300_819_379_000).unwrap_err();
    assert!(refused.message.contains("no subject"), "its signature is right: {refused}");
    let refused = policy.subject(&TOKEN.replace("cC4h", "cC4i"), 1_300_819_379_000).unwrap_err();
    assert!(refused.message.contains("signature"), "{refused}");
}

#[test]
fn a_token_counts_in_its_time_with_some_leeway() {
    let at = |claims: Value| secret_policy().subject(&with_secret("HS256", "secret", &claims), NOW_MS).is_ok();
    assert!(at(json!({"sub": "a", "exp": NOW - 59})));
    assert!(!at(json!({"sub": "a", "exp": NOW - 60})));
    assert!(at(json!({"sub": "a", "nbf": NOW + 60})));
    assert!(!at(json!({"sub": "a", "nbf": NOW + 61})));
    assert!(!at(json!({"sub": "a", "iat": NOW + 61})));
    assert!(!at(json!({"sub": "a", "exp": "tomorrow"})));
}

#[test]
fn issuer_and_audience_are_those_of_the_configuration() {
    let mut policy = secret_policy();
    policy.issuer = Some("https://id.a.org".into());
    policy.audiences = vec!["chat".into(), "team".into()];
    let passes = |claims: Value| policy.subject(&with_secret("HS256", "secret", &claims), NOW_MS).is_ok();
    let iss = "https://id.a.org";
    assert!(passes(json!({"sub": "a", "iss": iss, "aud": "team"})));
    assert!(passes(json!({"sub": "a", "iss": iss, "aud": ["x", "chat"]})));
    for claims in [
        json!({"sub": "a", "aud": "team"}),
        json!({"sub": "a", "iss": "https://b.org", "aud": "team"}),
        json!({"sub": "a", "iss": iss}),
        json!({"sub": "a", "iss": iss, "aud": ["x"]}),
        json!({"sub": "a", "iss": [iss], "aud": "team"}),
    ] {
        assert!(!passes(claims.clone()), "{claims}");
    }
}
