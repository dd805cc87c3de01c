//! SHA-512 in lanes against `sha2`.

use sha2::{Digest, Sha512};

use super::noise;
use crate::sha512::{BLOCK_BYTES, Messages, Prefix};

fn message(length: usize) -> Vec<u8> {
    (0..length.div_ceil(64) as u64).flat_map(|i| noise("message", i)).take(length).collect()
}

fn check(lengths: &[usize]) {
    let messages: Vec<_> = lengths.iter().map(|length| message(*length)).collect();
    let block: [u8; BLOCK_BYTES] = message(BLOCK_BYTES).try_into().unwrap();
    for (prefix, before) in [(Prefix::empty(), &[][..]), (Prefix::block(&block), &block[..])] {
        let mut batch = Messages::new(&prefix, lengths.iter().copied());
        for (row, message) in messages.iter().enumerate() {
            let (left, right) = message.split_at(message.len() / 3);
            batch.write(row, [left, right]);
        }
        let digests = batch.digests();
        assert_eq!(digests.len(), lengths.len());
        for (digest, message) in digests.iter().zip(&messages) {
            let expected = Sha512::new_with_prefix(before).chain_update(message).finalize();
            assert_eq!(digest[..], expected[..]);
        }
    }
}

#[test]
fn digests_of_every_number_of_messages_agree() {
    for rows in 0..=17 {
        check(&vec![7; rows]);
    }
}

#[test]
fn digests_around_the_ends_of_blocks_agree() {
    check(&[0, 1, 110, 111, 112, 113, 127, 128, 129, 238, 239, 240, 241, 255, 256, 257]);
}

#[test]
fn digests_of_long_and_short_messages_side_by_side_agree() {
    let lengths: Vec<_> = (0..53).map(|row| (row * row * 37) % 2_000).collect();
    check(&lengths);
    check(&[65_535, 0, 3, 1_000, 130, 130, 130, 130, 130, 130, 130, 130]);
}
