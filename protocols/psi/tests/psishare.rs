//! psishare's own derivations, and the Merkle tree hash of RFC 6962.

mod vectors;

use psishare_psi::seed::Seed;
use psishare_psi::{Blinds, merkle, voprf};
use serde_json::Value;
use vectors::{array, arrays, bytes, list, read, strings};

fn seed(value: &Value) -> Seed {
    Seed::from_secret_bytes(&array(value))
}

#[test]
fn seeds_derive_the_specified_blinds() {
    for vector in list(&read("psishare.json")["derivations"]) {
        let seed = seed(&vector["seed"]);
        for blind in list(&vector["blinds"]) {
            let index: u64 = blind["index"].as_str().unwrap().parse().unwrap();
            let values = vec![bytes(&blind["value"])];
            let expected = vec![array(&blind["blinded_element"])];
            let derived = voprf::blind(&values, &Blinds::derived(&seed, 0, &[index])).unwrap();
            assert_eq!(derived, expected);
            let given = [array(&blind["blind"])];
            assert_eq!(voprf::blind(&values, &Blinds::given(&given)).unwrap(), expected);
        }
    }
}

#[test]
fn seeds_derive_the_specified_order() {
    for vector in list(&read("psishare.json")["derivations"]) {
        for order in list(&vector["orders"]) {
            let expected: Vec<u64> =
                list(&order["order"]).iter().map(|index| index.as_u64().unwrap()).collect();
            let derived = seed(&vector["seed"]).order(0, order["rows"].as_u64().unwrap());
            assert_eq!(derived.unwrap(), expected);
        }
    }
}

#[test]
fn passes_differ() {
    let seed = Seed::from_secret_bytes(&[3; 32]);
    assert_ne!(seed.order(0, 100), seed.order(1, 100));
    let values = vec![b"value"];
    let blinded = |pass| voprf::blind(&values, &Blinds::derived(&seed, pass, &[0])).unwrap();
    assert_ne!(blinded(0), blinded(1));
    let element = |pass| seed.ecdh_scalar(pass).unwrap().blind(&values).unwrap();
    assert_ne!(element(0), element(1));
}

#[test]
fn commitments_bind_seed_and_input_root() {
    for vector in list(&read("psishare.json")["derivations"]) {
        let root = merkle::root(&strings(&vector["values"]));
        assert_eq!(root, array(&vector["input_root"]));
        let commitment: [u8; 32] = array(&vector["commitment"]);
        assert_eq!(seed(&vector["seed"]).commitment(&root), commitment);
    }
}

#[test]
fn ecdh_gives_the_specified_elements() {
    let vectors = read("psishare.json");
    for vector in list(&vectors["derivations"]) {
        let scalar = seed(&vector["seed"]).ecdh_scalar(0).unwrap();
        let elements = scalar.blind(&strings(&vector["values"])).unwrap();
        assert_eq!(elements, arrays(&vector["ecdh_elements"]));
    }
    let double = &vectors["ecdh_double"];
    let [a, b] = [0, 1].map(|party| seed(&double["seeds"][party]).ecdh_scalar(0).unwrap());
    let values = strings(&double["values"]);
    let expected: Vec<[u8; 32]> = arrays(&double["elements"]);
    assert_eq!(a.multiply(&b.blind(&values).unwrap()).unwrap(), expected);
    assert_eq!(b.multiply(&a.blind(&values).unwrap()).unwrap(), expected);
}

#[test]
fn fingerprints_are_the_first_bits_and_zeros() {
    let vector = &read("psishare.json")["fingerprints"];
    let key_seed = array(&vector["key_seed"]);
    let key = voprf::Key::derive_key_pair(&key_seed, &bytes(&vector["key_info"])).unwrap();
    let values = vec![bytes(&vector["value"])];
    assert_eq!(key.evaluate(&values).unwrap(), bytes(&vector["output"]));
    for cut in list(&vector["cuts"]) {
        let bits = usize::try_from(cut["bits"].as_u64().unwrap()).unwrap();
        assert_eq!(key.fingerprints(&values, bits).unwrap(), bytes(&cut["fingerprint"]));
    }
}

#[test]
fn merkle_roots_are_those_of_certificate_transparency() {
    let vectors = read("rfc6962.json");
    let leaves = strings(&vectors["leaves"]);
    assert_eq!(merkle::root(&leaves[..0]), array(&vectors["empty_root"]));
    for (size, root) in arrays(&vectors["roots"]).into_iter().enumerate() {
        assert_eq!(merkle::root(&leaves[..=size]), root);
    }
}
