//! What a peer or a caller can send wrong is refused, with its row; nothing panics.

use psishare_psi::seed::Seed;
use psishare_psi::{Blinds, Encoding, Error, Fault, Proof, ecdh, oprf, voprf};

/// The order of the group, little-endian: the smallest scalar that is not canonical.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
const IDENTITY: Encoding = [0; 32];
const ROWS: usize = 200;

/// An honest exchange of one frame, to be spoilt.
struct Exchange {
    values: Vec<Vec<u8>>,
    indices: Vec<u64>,
    seed: Seed,
    key: voprf::Key,
    blinded: Vec<Encoding>,
    evaluated: Vec<Encoding>,
    proof: Proof,
}

impl Exchange {
    fn new() -> Self {
        let values: Vec<_> = (0..ROWS).map(|row| format!("value {row}").into_bytes()).collect();
        let indices: Vec<u64> = (0..ROWS as u64).collect();
        let seed = Seed::generate().unwrap();
        let key = voprf::Key::generate().unwrap();
        let blinded = voprf::blind(&values, &Blinds::derived(&seed, 0, &indices)).unwrap();
        let (evaluated, proof) = key.blind_evaluate(&blinded).unwrap();
        Self { values, indices, seed, key, blinded, evaluated, proof }
    }

    fn finalize(
        &self,
        evaluated: &[Encoding],
        proof: &[u8],
        public_key: &Encoding,
    ) -> Result<Vec<u8>, Error> {
        let blinds = Blinds::derived(&self.seed, 0, &self.indices);
        let answer = voprf::Answer { evaluated, proof, public_key };
        voprf::finalize(&self.values, &blinds, &self.blinded, answer, 80)
    }
}

#[test]
fn every_changed_byte_of_a_proof_is_noticed() {
    let exchange = Exchange::new();
    let proof = exchange.proof.to_bytes();
    let public_key = exchange.key.public_key();
    assert!(exchange.finalize(&exchange.evaluated, &proof, public_key).is_ok());
    for byte in 0..proof.len() {
        let mut spoilt = proof;
        spoilt[byte] ^= 1;
        let refused = exchange.finalize(&exchange.evaluated, &spoilt, public_key);
        assert_eq!(refused.unwrap_err(), Error::Proof);
    }
    for length in [0, 32, 63, 65] {
        let mut spoilt = proof.to_vec();
        spoilt.resize(length, 0);
        let refused = exchange.finalize(&exchange.evaluated, &spoilt, public_key);
        assert_eq!(refused.unwrap_err(), Error::Proof);
    }
}

#[test]
fn scalars_of_a_proof_must_be_canonical() {
    assert!(Proof::from_bytes(&[0; 64]).is_ok());
    for half in 0..2 {
        let mut spoilt = [0; 64];
        spoilt[half * 32..][..32].copy_from_slice(&ORDER);
        assert_eq!(Proof::from_bytes(&spoilt), Err(Error::Proof));
    }
}

#[test]
fn another_key_is_noticed() {
    let exchange = Exchange::new();
    let other = voprf::Key::generate().unwrap();
    let (evaluated, proof) = other.blind_evaluate(&exchange.blinded).unwrap();
    let proof = proof.to_bytes();
    assert!(exchange.finalize(&evaluated, &proof, other.public_key()).is_ok());
    let refused = exchange.finalize(&evaluated, &proof, exchange.key.public_key());
    assert_eq!(refused.unwrap_err(), Error::Proof);
}

#[test]
fn one_row_evaluated_under_another_key_is_noticed() {
    let exchange = Exchange::new();
    let other = voprf::Key::generate().unwrap();
    let (foreign, _) = other.blind_evaluate(&exchange.blinded[..1]).unwrap();
    let mut evaluated = exchange.evaluated.clone();
    evaluated[0] = foreign[0];
    // Even a platform that proves again, with its own key, for what it altered.
    let proof = exchange.key.prove_with(&exchange.blinded, &evaluated, &[1; 32]).unwrap();
    let refused = exchange.finalize(&evaluated, &proof.to_bytes(), exchange.key.public_key());
    assert_eq!(refused.unwrap_err(), Error::Proof);
}

#[test]
fn swapped_dropped_and_doubled_rows_are_noticed() {
    let exchange = Exchange::new();
    let (proof, key) = (exchange.proof.to_bytes(), exchange.key.public_key());
    let mut swapped = exchange.evaluated.clone();
    swapped.swap(3, 150);
    assert_eq!(exchange.finalize(&swapped, &proof, key).unwrap_err(), Error::Proof);
    let dropped = &exchange.evaluated[..ROWS - 1];
    let refused = exchange.finalize(dropped, &proof, key).unwrap_err();
    assert_eq!(refused, Error::AnswerRows { expected: ROWS, found: ROWS - 1 });
    assert_eq!(refused.fault(), Fault::Peer);
    let mut doubled = exchange.evaluated.clone();
    doubled[9] = doubled[8];
    assert_eq!(exchange.finalize(&doubled, &proof, key).unwrap_err(), Error::Proof);
}

#[test]
fn the_first_bad_element_of_an_answer_is_named() {
    let exchange = Exchange::new();
    let (proof, key) = (exchange.proof.to_bytes(), exchange.key.public_key());
    for bad in [IDENTITY, [0xff; 32]] {
        let mut evaluated = exchange.evaluated.clone();
        evaluated[131] = bad;
        evaluated[199] = bad;
        let refused = exchange.finalize(&evaluated, &proof, key).unwrap_err();
        assert_eq!(refused, Error::Element { row: 131 });
    }
}

#[test]
fn a_public_key_that_is_the_identity_is_refused() {
    let exchange = Exchange::new();
    for bad in [IDENTITY, [0xff; 32]] {
        let refused = exchange.finalize(&exchange.evaluated, &exchange.proof.to_bytes(), &bad);
        assert_eq!(refused.unwrap_err(), Error::PublicKey);
    }
}

#[test]
fn frames_that_no_proof_can_cover_are_refused() {
    let exchange = Exchange::new();
    assert_eq!(exchange.key.blind_evaluate(&[]).unwrap_err(), Error::FrameRows { rows: 0 });
    let long = vec![exchange.blinded[0]; 65_536];
    let refused = exchange.key.blind_evaluate(&long).unwrap_err();
    assert_eq!(refused, Error::FrameRows { rows: 65_536 });
}

#[test]
fn the_first_bad_element_of_a_request_is_named() {
    let exchange = Exchange::new();
    let scalar = exchange.seed.ecdh_scalar(0).unwrap();
    for bad in [IDENTITY, [0xff; 32]] {
        let mut blinded = exchange.blinded.clone();
        blinded[130] = bad;
        blinded[129] = bad;
        let expected = Error::Element { row: 129 };
        assert_eq!(exchange.key.blind_evaluate(&blinded).unwrap_err(), expected);
        assert_eq!(scalar.multiply(&blinded).unwrap_err(), expected);
        assert_eq!(ecdh::require_elements(&blinded).unwrap_err(), expected);
    }
}

#[test]
fn values_that_are_too_long_are_named() {
    let key = voprf::Key::generate().unwrap();
    let scalar = Seed::generate().unwrap().ecdh_scalar(0).unwrap();
    let mut values = vec![vec![0; 65_535]; 300];
    assert!(key.evaluate(&values[..2]).is_ok());
    values[290].push(0);
    values[260].push(0);
    let expected = Error::ValueTooLong { row: 260 };
    assert_eq!(key.evaluate(&values).unwrap_err(), expected);
    assert_eq!(scalar.blind(&values).unwrap_err(), expected);
    assert_eq!(expected.fault(), Fault::Caller);
}

#[test]
fn secret_keys_must_be_canonical_and_not_zero() {
    for bad in [&[0; 32][..], &ORDER, &[0xff; 32], &[1; 31], &[1; 33], &[]] {
        assert_eq!(voprf::Key::from_secret_bytes(bad).unwrap_err(), Error::SecretKey);
    }
    let key = voprf::Key::generate().unwrap();
    let again = voprf::Key::from_secret_bytes(&*key.secret_bytes()).unwrap();
    assert_eq!(again.public_key(), key.public_key());
}

#[test]
fn given_blinds_must_be_canonical_and_not_zero() {
    let values = vec![b"value".to_vec(); 200];
    for bad in [[0; 32], ORDER] {
        let mut blinds = vec![[1; 32]; 200];
        for blind in &mut blinds {
            blind[31] = 0;
        }
        blinds[140] = bad;
        let refused = voprf::blind(&values, &Blinds::given(&blinds)).unwrap_err();
        assert_eq!(refused, Error::Scalar { row: 140 });
    }
}

#[test]
fn columns_of_different_lengths_are_refused() {
    let values = vec![b"value".to_vec(); 3];
    let seed = Seed::generate().unwrap();
    let expected = Error::ColumnsDiffer { expected: 3, found: 2 };
    let blinds = Blinds::derived(&seed, 0, &[0, 1]);
    assert_eq!(voprf::blind(&values, &blinds).unwrap_err(), expected);
    let exchange = Exchange::new();
    let refused = oprf::finalize(&values, &blinds, &exchange.evaluated[..3]);
    assert_eq!(refused.unwrap_err(), expected);
}

#[test]
fn fingerprints_have_1_to_512_bits() {
    let key = voprf::Key::generate().unwrap();
    for bits in [0, 513, usize::MAX] {
        let refused = key.fingerprints(&vec![b"value"], bits).unwrap_err();
        assert_eq!(refused, Error::FingerprintBits);
    }
}

#[test]
fn secrets_do_not_print() {
    let seed = Seed::from_secret_bytes(&[0x0b; 32]);
    let key = voprf::Key::from_secret_bytes(&[0x0b; 32]).unwrap();
    let base = oprf::Key::derive_key_pair(&[0x0b; 32], b"").unwrap();
    let scalar = seed.ecdh_scalar(0).unwrap();
    assert_eq!(format!("{seed:?}"), "Seed(<redacted>)");
    assert_eq!(format!("{key:?}"), "Key(<redacted>)");
    assert_eq!(format!("{base:?}"), "Key(<redacted>)");
    assert_eq!(format!("{scalar:?}"), "EcdhScalar(<redacted>)");
}
