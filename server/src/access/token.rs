//! Tokens: what callers without a certificate show.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use super::Digest;

const PREFIX: &str = "tapstone_";
const RANDOM_LEN: usize = 32;
/// 32 bytes in base64 without padding.
const ENCODED_LEN: usize = 43;

/// A new token. It is shown once; only its hash is kept.
pub(crate) struct Token {
    text: String,
    hash: Digest,
}

/// The system has no chance to give.
#[derive(Debug, thiserror::Error)]
#[error("the system gave no random bytes for a token; see whether getrandom is permitted here")]
pub(crate) struct TokenError;

impl Token {
    /// Makes one from the system's randomness.
    pub(crate) fn random() -> Result<Token, TokenError> {
        let mut random = [0; RANDOM_LEN];
        SystemRandom::new().fill(&mut random).map_err(|_| TokenError)?;
        Ok(Token::from_random(random))
    }

    fn from_random(random: [u8; RANDOM_LEN]) -> Token {
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let hash = Digest::of(text.as_bytes());
        Token { text, hash }
    }

    /// What its owner keeps secret.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What the configuration holds: SHA-256 of the text. A token is 256 random bits, so nothing
    /// slower is needed to keep it from being guessed.
    pub(crate) fn hash(&self) -> Digest {
        self.hash
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.hash.brief())
    }
}

/// The hash to look a token up by; `None` for what was not made by [`Token::random`], so that
/// nobody gets in with a password whose hash somebody configured.
pub(super) fn hash(bearer: &str) -> Option<Digest> {
    let encoded = bearer.strip_prefix(PREFIX)?;
    if encoded.len() != ENCODED_LEN || URL_SAFE_NO_PAD.decode(encoded).is_err() {
        return None;
    }
    Some(Digest::of(bearer.as_bytes()))
}

/// The token in an `authorization` header. What is no bearer token comes back whole, and is then
/// refused as unknown: a credential that was shown is never passed over.
pub(crate) fn bearer(authorization: &str) -> &str {
    match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => authorization,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one.text(), other.text());
        assert_eq!(one.text().len(), PREFIX.len() + ENCODED_LEN);
        assert_eq!(hash(one.text()), Some(one.hash()));
        assert_eq!(one.hash(), Digest::of(one.text().as_bytes()));
        assert!(!format!("{one:?}").contains(one.text()));
    }

    #[test]
    fn what_is_not_formed_as_a_token_is_none() {
        let token = Token::from_random([7; 32]);
        for wrong in [
            "",
            "tapstone_",
            "password",
            &token.text()[9..],
            &token.text()[..51],
            &format!("{}A", token.text()),
            &token.text().replace("Bw", "B="),
        ] {
            assert_eq!(hash(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_header_gives_its_token() {
        for (header, expected) in
            [("Bearer t", "t"), ("bearer  t ", "t"), ("Basic dDp0", "Basic dDp0"), ("t", "t")]
        {
            assert_eq!(bearer(header), expected);
        }
    }
}
