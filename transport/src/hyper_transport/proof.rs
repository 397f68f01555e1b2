//! Before a link opens: what its two sides show each other, beside what TLS has checked.
//!
//! The side that dials sends a fresh number with its request. The side that accepts answers 401 with a fresh number of
//! its own. The request comes again, with a proof over both numbers and the greeting. The answer to that has a proof
//! over all of it and the own greeting. So nothing of an earlier link opens another one, and neither greeting can be
//! changed on its way, the formats in it included. Only then does either side believe what the other says.
//!
//! Without a secret none of these headers is sent, and nothing is answered otherwise than before.

use super::Inner;
use super::greeting::{self, Greeting};
use super::refusal::refusal;
use crate::trust::{Nonce, Proof, Proven, Said, Visitor};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// A fresh number of either side.
const CHALLENGE: HeaderName = HeaderName::from_static("hence-challenge");
/// Proofs, separated by commas.
const PROOF: HeaderName = HeaderName::from_static("hence-proof");
/// What a refused side lacks.
const LACKS: HeaderName = HeaderName::from_static("hence-lacks");

/// What a side lacks that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacks {
    Certificate,
    Secret,
}

impl Lacks {
    const ALL: [Self; 2] = [Self::Certificate, Self::Secret];

    const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Secret => "secret",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Certificate => "A link needs a certificate of this cluster that names the replica's address",
            Self::Secret => "A link needs a proof of the cluster's secret",
        }
    }

    /// What an answer says that this side lacks.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let given = headers.get(LACKS)?;
        Self::ALL.into_iter().find(|lacks| given == lacks.name())
    }
}

/// An answer that opens no link.
type Refusal = Box<Response<Full<Bytes>>>;

/// Draws a number. None where the system gives none: then no link opens.
fn fresh() -> Option<Nonce> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).ok().map(|()| nonce)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Exactly 64 hexadecimal digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let (mut bytes, digits) = ([0; 32], text.as_bytes());
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (place, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *place = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    headers.insert(name, HeaderValue::from_str(text).expect("digits and commas make a header"));
}

/// The number that the other side drew.
fn challenge(headers: &HeaderMap) -> Option<Nonce> {
    unhex(headers.get(CHALLENGE)?.to_str().ok()?)
}

/// Proofs, as many as there may be secrets.
fn proofs(headers: &HeaderMap) -> Option<Vec<Proof>> {
    let text = headers.get(PROOF)?.to_str().ok()?;
    let proofs: Option<Vec<Proof>> = text.split(',').take(3).map(unhex).collect();
    proofs.filter(|proofs| proofs.len() <= 2)
}

fn said_of_itself(headers: &HeaderMap) -> &[u8] {
    headers.get(greeting::HEADER).map_or(&[], HeaderValue::as_bytes)
}

/// The side that dials, for one connection.
pub(super) struct Opening {
    nonce: Nonce,
    challenge: Option<Nonce>,
    asks: Vec<u8>,
}

impl Opening {
    /// Begins, where there is a secret, with the headers of the first request.
    pub(super) fn begin(inner: &Inner, headers: &mut HeaderMap) -> Option<Self> {
        inner.trust.secrets.as_ref()?;
        let nonce = fresh()?;
        put(headers, CHALLENGE, &hex(&nonce));
        Some(Self { nonce, challenge: None, asks: said_of_itself(headers).to_vec() })
    }

    /// Does this answer ask for a proof? Then the same request goes again, with what is put into its headers.
    pub(super) fn prove(&mut self, inner: &Inner, answer: &HeaderMap, headers: &mut HeaderMap) -> bool {
        let Some((secrets, given)) = inner.trust.secrets.as_ref().zip(challenge(answer)) else { return false };
        let said = Said { challenge: &given, dialler: &self.nonce, asks: &self.asks, answers: None };
        let proofs: Vec<String> = secrets.prove(&said).iter().map(|proof| hex(proof)).collect();
        put(headers, PROOF, &proofs.join(","));
        self.challenge = Some(given);
        true
    }

    /// Does the side that answered so know a secret?
    pub(super) fn is_answered(&self, inner: &Inner, answer: &HeaderMap) -> bool {
        let (Some(secrets), Some(challenge), Some(proofs)) = (&inner.trust.secrets, &self.challenge, proofs(answer))
        else {
            return false;
        };
        let answers = Some(said_of_itself(answer));
        let said = Said { challenge, dialler: &self.nonce, asks: &self.asks, answers };
        secrets.find(&said, &proofs).is_some()
    }
}

/// A side that dialled and proved that it knows a secret.
pub(super) struct Introduced {
    proven: Proven,
    challenge: Nonce,
    nonce: Nonce,
    asks: Vec<u8>,
}

impl Introduced {
    /// Proves the same to it, in an answer whose greeting is written.
    pub(super) fn answer(&self, headers: &mut HeaderMap) {
        let answers = said_of_itself(headers).to_vec();
        let Self { challenge, nonce, asks, .. } = self;
        let said = Said { challenge, dialler: nonce, asks, answers: Some(&answers) };
        put(headers, PROOF, &hex(&self.proven.prove(&said)));
    }
}

impl Inner {
    /// Is it a member that asks for a link? Otherwise gives the answer to it.
    pub(super) fn examine(
        &self,
        headers: &HeaderMap,
        greeting: Option<&Greeting>,
        visitor: &Visitor,
    ) -> Result<Option<Introduced>, Refusal> {
        let trust = &self.trust;
        if let Some(tls) = &trust.tls {
            let address = greeting.map(|greeting| greeting.home.as_ref().unwrap_or(&greeting.address));
            let is_named = address.is_some_and(|address| visitor.showed(|certificate| tls.names(certificate, address)));
            if !is_named && (trust.is_strict() || visitor.is_secured()) {
                return Err(self.distrusts(Lacks::Certificate, greeting, visitor));
            }
        }
        let Some(secrets) = &trust.secrets else { return Ok(None) };
        let Some(nonce) = challenge(headers) else {
            // A build that has no secret yet sends no number.
            let excused = !trust.is_strict() && !headers.contains_key(CHALLENGE);
            return if excused { Ok(None) } else { Err(self.distrusts(Lacks::Secret, greeting, visitor)) };
        };
        if !headers.contains_key(PROOF) {
            return Err(self.challenges(visitor));
        }
        let asks = said_of_itself(headers).to_vec();
        // Each number is good for one attempt.
        let found = visitor.take_challenge().zip(proofs(headers)).and_then(|(challenge, proofs)| {
            let said = Said { challenge: &challenge, dialler: &nonce, asks: &asks, answers: None };
            secrets.find(&said, &proofs).map(|proven| (proven, challenge))
        });
        match found {
            Some((proven, challenge)) => Ok(Some(Introduced { proven, challenge, nonce, asks })),
            None => Err(self.distrusts(Lacks::Secret, greeting, visitor)),
        }
    }

    fn challenges(&self, visitor: &Visitor) -> Refusal {
        let mut response = refusal(StatusCode::UNAUTHORIZED, Lacks::Secret.text());
        if let Some(nonce) = fresh() {
            visitor.challenge(nonce);
            put(response.headers_mut(), CHALLENGE, &hex(&nonce));
        }
        Box::new(response)
    }

    fn distrusts(&self, lacks: Lacks, greeting: Option<&Greeting>, visitor: &Visitor) -> Refusal {
        self.count(|counters| counters.links_untrusted += 1);
        self.complaints.of_trust(&self.settings.address, lacks.name(), greeting, visitor.source());
        let mut response = refusal(StatusCode::FORBIDDEN, lacks.text());
        response.headers_mut().insert(LACKS, HeaderValue::from_static(lacks.name()));
        Box::new(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_and_read_strictly() {
        let nonce = fresh().expect("randomness");
        assert_eq!(unhex(&hex(&nonce)), Some(nonce));
        assert_ne!(fresh(), Some(nonce));
        let good = "0f".repeat(32);
        assert_eq!(unhex(&good), Some([15; 32]));
        for wrong in ["", &good[1..], &format!("{good}0"), &good.replace("0f", "+f"), &good.replace('f', "g")] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
        let mut headers = HeaderMap::new();
        for (text, count) in [(good.clone(), Some(1)), (format!("{good},{good}"), Some(2))] {
            put(&mut headers, PROOF, &text);
            assert_eq!(proofs(&headers).map(|proofs| proofs.len()), count);
        }
        for wrong in [format!("{good},"), format!("{good},{good},{good}"), String::new()] {
            put(&mut headers, PROOF, &wrong);
            assert_eq!(proofs(&headers), None, "{wrong}");
        }
    }
}
