//! Each step gives the same bytes with either backend. One test, because the switch is the
//! process's.

use psishare_psi::seed::{FIRST_PASS, Seed};
use psishare_psi::{Blinds, Encoding, Error, backend, oprf, voprf};

/// Everything that one run of the protocols computes.
#[derive(Debug, PartialEq)]
struct Outcome {
    order: Vec<u64>,
    blinded: Vec<Encoding>,
    evaluated: Vec<Encoding>,
    proof: Vec<u8>,
    finalized: Vec<u8>,
    fingerprints: Vec<u8>,
    ecdh: Vec<Encoding>,
    ecdh_again: Vec<Encoding>,
    refused: Error,
}

fn outcome(rows: usize) -> Outcome {
    // Values of very different lengths, so that eight hashed together end at different blocks.
    let values: Vec<Vec<u8>> =
        (0..rows).map(|row| format!("{row}").repeat(row * row % 97 + 1).into_bytes()).collect();
    let indices: Vec<u64> = (0..rows as u64).rev().collect();
    let seed = Seed::from_secret_bytes(&[3; 32]);
    let key = voprf::Key::derive_key_pair(&[5; 32], b"backends").unwrap();
    let plain = oprf::Key::derive_key_pair(&[5; 32], b"backends").unwrap();
    let scalar = seed.ecdh_scalar(FIRST_PASS).unwrap();
    let blinds = Blinds::derived(&seed, FIRST_PASS, &indices);
    let blinded = voprf::blind(&values, &blinds).unwrap();
    let (evaluated, fresh_proof) = key.blind_evaluate(&blinded).unwrap();
    let proof = key.prove_with(&blinded, &evaluated, &[1; 32]).unwrap().to_bytes();
    let mut finalized = Vec::new();
    for proof in [proof, fresh_proof.to_bytes()] {
        let answer =
            voprf::Answer { evaluated: &evaluated, proof: &proof, public_key: key.public_key() };
        finalized = voprf::finalize(&values, &blinds, &blinded, answer, 77).unwrap();
    }
    let ecdh = scalar.blind(&values).unwrap();
    let mut bad = blinded.clone();
    bad[rows / 2] = [0xff; 32];
    bad[rows - 1] = [0; 32];
    Outcome {
        order: seed.order(FIRST_PASS, rows as u64).unwrap(),
        ecdh_again: scalar.multiply(&ecdh).unwrap(),
        refused: plain.blind_evaluate(&bad).unwrap_err(),
        fingerprints: key.fingerprints(&values, 77).unwrap(),
        proof: proof.to_vec(),
        blinded,
        evaluated,
        finalized,
        ecdh,
    }
}

#[test]
fn backends_agree_on_every_byte() {
    for rows in [1, 2, 7, 8, 9, 127, 128, 129, 300, 1_100] {
        backend::set_portable(true);
        assert_eq!(backend::name(), "portable");
        let portable = outcome(rows);
        backend::set_portable(false);
        assert_eq!(outcome(rows), portable, "{rows} rows");
        assert_eq!(portable.finalized, portable.fingerprints);
    }
}
