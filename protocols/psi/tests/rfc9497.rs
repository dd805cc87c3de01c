//! RFC 9497, Appendix A.1: ristretto255-SHA512 in modes 0x00 and 0x01.

mod vectors;

use psishare_psi::{Blinds, Error, Proof, oprf, voprf};
use serde_json::Value;
use vectors::{array, arrays, bytes, list, read, strings};

fn mode(number: usize) -> Value {
    read("rfc9497.json")["modes"][number].clone()
}

#[test]
fn mode_0_gives_the_published_values() {
    let mode = mode(0);
    let key = oprf::Key::derive_key_pair(&array(&mode["seed"]), &bytes(&mode["key_info"])).unwrap();
    assert_eq!(*key.secret_bytes(), array(&mode["secret_key"]));
    for test in list(&mode["tests"]) {
        let inputs = strings(&test["inputs"]);
        let blinds = arrays(&test["blinds"]);
        let blinds = Blinds::given(&blinds);
        let outputs = strings(&test["outputs"]).concat();
        let blinded = oprf::blind(&inputs, &blinds).unwrap();
        assert_eq!(blinded, arrays(&test["blinded_elements"]));
        let evaluated = key.blind_evaluate(&blinded).unwrap();
        assert_eq!(evaluated, arrays(&test["evaluated_elements"]));
        assert_eq!(oprf::finalize(&inputs, &blinds, &evaluated).unwrap(), outputs);
        assert_eq!(key.evaluate(&inputs).unwrap(), outputs);
    }
}

#[test]
fn mode_1_gives_the_published_values() {
    let mode = mode(1);
    let key =
        voprf::Key::derive_key_pair(&array(&mode["seed"]), &bytes(&mode["key_info"])).unwrap();
    assert_eq!(*key.secret_bytes(), array(&mode["secret_key"]));
    assert_eq!(*key.public_key(), array(&mode["public_key"]));
    for test in list(&mode["tests"]) {
        let inputs = strings(&test["inputs"]);
        let blinds = arrays(&test["blinds"]);
        let blinds = Blinds::given(&blinds);
        let outputs = strings(&test["outputs"]).concat();
        let blinded = voprf::blind_rfc9497(&inputs, &blinds).unwrap();
        assert_eq!(blinded, arrays(&test["blinded_elements"]));
        let (evaluated, _) = key.blind_evaluate(&blinded).unwrap();
        assert_eq!(evaluated, arrays(&test["evaluated_elements"]));
        let nonce = array(&test["proof_nonce"]);
        let proof = key.prove_rfc9497(&blinded, &evaluated, &nonce).unwrap();
        assert_eq!(proof.to_bytes(), array(&test["proof"]));
        assert_eq!(Proof::from_bytes(&bytes(&test["proof"])).unwrap(), proof);
        let public_key = array(&mode["public_key"]);
        let proof = proof.to_bytes();
        let answer =
            voprf::Answer { evaluated: &evaluated, proof: &proof, public_key: &public_key };
        voprf::verify_rfc9497(&blinded, answer).unwrap();
        // Unblinding and the last hash are the same in both modes.
        assert_eq!(oprf::finalize(&inputs, &blinds, &evaluated).unwrap(), outputs);
        assert_eq!(key.evaluate(&inputs).unwrap(), outputs);
        // The exchange asks for the proof that is bound to its whole frame, and takes no other.
        let refused = voprf::finalize(&inputs, &blinds, &blinded, answer, 512).unwrap_err();
        assert_eq!(refused, Error::Proof);
        let bound = key.prove_with(&blinded, &evaluated, &nonce).unwrap().to_bytes();
        let answer = voprf::Answer { proof: &bound, ..answer };
        assert_eq!(voprf::verify_rfc9497(&blinded, answer).unwrap_err(), Error::Proof);
    }
}

#[test]
fn blinds_that_are_added_give_the_published_outputs() {
    let mode = mode(1);
    let key =
        voprf::Key::derive_key_pair(&array(&mode["seed"]), &bytes(&mode["key_info"])).unwrap();
    for test in list(&mode["tests"]) {
        let inputs = strings(&test["inputs"]);
        let blinds = arrays(&test["blinds"]);
        let blinds = Blinds::given(&blinds);
        let blinded = voprf::blind(&inputs, &blinds).unwrap();
        assert_ne!(blinded, arrays(&test["blinded_elements"]));
        let (evaluated, proof) = key.blind_evaluate(&blinded).unwrap();
        let proof = proof.to_bytes();
        let answer =
            voprf::Answer { evaluated: &evaluated, proof: &proof, public_key: key.public_key() };
        let outputs = strings(&test["outputs"]).concat();
        assert_eq!(voprf::finalize(&inputs, &blinds, &blinded, answer, 512).unwrap(), outputs);
    }
}
