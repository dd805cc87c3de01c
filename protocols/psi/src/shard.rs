//! Shards of an encoded set: the fingerprints under one prefix, Elias-Fano coded and looked up as
//! they lie (protocols/specs/dataset.md, section 3).
//!
//! Nothing here is secret from whoever holds the shard.

use rayon::prelude::*;

use crate::Error;
use crate::sorted::FixedRows;

// The wire constants of dataset.md, section 3.
const MAGIC: [u8; 8] = *b"psiset/1";
const HEADER_BYTES: usize = 16;
const SAMPLE_BYTES: usize = 4;
/// Buckets for each sample of the directory.
const SAMPLED: usize = 256;
/// The most items of a bucket: uniform fingerprints reach it with odds below 2^-290, and it bounds
/// what a look-up in a shard of somebody else's making can cost.
const MAX_BUCKET: usize = 64;
/// The most items of a shard.
const MAX_ITEMS: usize = 1 << 24;
/// The most bits of a fingerprint in a shard.
pub const MAX_BITS: u8 = 120;
/// The most bits of a prefix.
pub const MAX_PREFIX_BITS: u8 = 13;

/// Which fingerprints a shard holds: those of `bits` bits whose first `prefix_bits` are `prefix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    bits: u8,
    prefix_bits: u8,
    prefix: u16,
}

impl Slot {
    /// The slot of one prefix.
    ///
    /// # Errors
    /// `Fingerprints` where there are no such fingerprints or no such prefix.
    pub fn new(bits: usize, prefix_bits: usize, prefix: usize) -> Result<Self, Error> {
        let (Ok(bits), Ok(prefix_bits), Ok(prefix)) =
            (u8::try_from(bits), u8::try_from(prefix_bits), u16::try_from(prefix))
        else {
            return Err(Error::Fingerprints);
        };
        let sane = (1..=MAX_BITS).contains(&bits)
            && prefix_bits <= MAX_PREFIX_BITS.min(bits)
            && prefix < 1 << prefix_bits;
        if sane { Ok(Self { bits, prefix_bits, prefix }) } else { Err(Error::Fingerprints) }
    }

    /// Bytes of a fingerprint.
    fn width(self) -> usize {
        usize::from(self.bits).div_ceil(8)
    }

    /// Bits of a fingerprint after the prefix.
    fn rest_bits(self) -> u32 {
        u32::from(self.bits - self.prefix_bits)
    }

    /// What follows the prefix of a fingerprint; `None` where it has another prefix.
    fn rest(self, fingerprint: u128) -> Option<u128> {
        let prefix = fingerprint >> self.rest_bits();
        (prefix == u128::from(self.prefix)).then_some(fingerprint & mask(self.rest_bits()))
    }
}

/// Where the parts of a shard lie; all of it follows from the slot and the number of items.
#[derive(Clone, Copy, Debug)]
struct Layout {
    items: usize,
    /// Buckets: values of the first bits after the prefix.
    buckets: usize,
    low_bits: u32,
    high_at: usize,
    low_at: usize,
    end: usize,
}

impl Layout {
    fn new(slot: Slot, items: usize) -> Result<Self, Error> {
        // No more distinct values than there are, and no more than an index counts.
        if items > MAX_ITEMS || items as u128 > mask(slot.rest_bits()) + 1 {
            return Err(Error::Shard);
        }
        let buckets = items.max(1).next_power_of_two();
        let low_bits = slot.rest_bits() - buckets.trailing_zeros();
        let high_at = HEADER_BYTES + buckets.div_ceil(SAMPLED) * SAMPLE_BYTES;
        let low_at = high_at + (items + buckets).div_ceil(8);
        let end = low_at + (items * low_bits as usize).div_ceil(8);
        Ok(Self { items, buckets, low_bits, high_at, low_at, end })
    }
}

/// Sort fingerprints of `bits` bits and leave out what occurs twice: one run of an encoding.
///
/// # Errors
/// `Fingerprints` where they have another width, or bits after the last one.
pub fn sort_distinct(rows: FixedRows<'_>, bits: usize) -> Result<Vec<u8>, Error> {
    let slot = Slot::new(bits, 0, 0)?;
    let mut values = numbers(rows, slot, 0..rows.len())?;
    values.par_sort_unstable();
    values.dedup();
    let mut sorted = Vec::with_capacity(values.len() * slot.width());
    for value in values {
        let aligned = value << (128 - u32::from(slot.bits));
        sorted.extend_from_slice(&aligned.to_be_bytes()[..slot.width()]);
    }
    Ok(sorted)
}

/// Encode a shard from sorted runs, of which it takes what is in its slot; duplicates among runs are
/// left out.
///
/// Returns its bytes and its number of items.
///
/// # Errors
/// `Fingerprints` where a run has another width or is not sorted, or where the fingerprints are not
/// spread as outputs of a PRF are.
pub fn encode(runs: &[FixedRows<'_>], slot: Slot) -> Result<(Vec<u8>, usize), Error> {
    let mut values = Vec::new();
    for run in runs {
        let rows = rows_of_slot(*run, slot)?;
        for value in numbers(*run, slot, rows)? {
            values.push(slot.rest(value).ok_or(Error::Fingerprints)?);
        }
    }
    values.par_sort_unstable();
    values.dedup();
    let layout = Layout::new(slot, values.len()).map_err(|_| Error::Fingerprints)?;
    let mut bytes = vec![0; layout.end];
    write_header(&mut bytes, slot, layout)?;
    write_values(&mut bytes, layout, &values)?;
    Ok((bytes, values.len()))
}

/// For each needle, whether the shard of its prefix holds it; `shards[p]` is the one of prefix p.
///
/// # Errors
/// `Fingerprints` where the number of shards is no power of two or the needles have another width;
/// `Shard` where a shard is not of these bits and its place.
pub fn lookup(shards: &[&[u8]], needles: FixedRows<'_>, bits: usize) -> Result<Vec<bool>, Error> {
    if !shards.len().is_power_of_two() {
        return Err(Error::Fingerprints);
    }
    let prefix_bits = shards.len().trailing_zeros() as usize;
    let parsed = shards
        .iter()
        .enumerate()
        .map(|(prefix, bytes)| {
            let slot = Slot::new(bits, prefix_bits, prefix)?;
            Shard::parse(bytes).and_then(|shard| shard.require(slot))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let whole = Slot::new(bits, 0, 0)?;
    if needles.width() != whole.width() {
        return Err(Error::Fingerprints);
    }
    Ok((0..needles.len())
        .into_par_iter()
        .with_min_len(1024)
        .map(|row| {
            number(needles.value(row), whole).is_some_and(|value| {
                let prefix = value >> (bits - prefix_bits);
                usize::try_from(prefix)
                    .is_ok_and(|at| parsed.get(at).is_some_and(|shard| shard.contains(value)))
            })
        })
        .collect())
}

/// A shard whose length is right; what it holds is looked up, not yet verified.
#[derive(Clone, Copy, Debug)]
pub struct Shard<'a> {
    slot: Slot,
    layout: Layout,
    bytes: &'a [u8],
}

impl<'a> Shard<'a> {
    /// Parse a shard's header, and hold it to exactly the length that this gives.
    ///
    /// # Errors
    /// `Shard` where they do not agree.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Error::Shard)?;
        let [m0, m1, m2, m3, m4, m5, m6, m7, n0, n1, n2, n3, bits, prefix_bits, p0, p1] = *header;
        let items = u32::from_le_bytes([n0, n1, n2, n3]) as usize;
        let prefix = usize::from(u16::from_le_bytes([p0, p1]));
        let slot = Slot::new(usize::from(bits), usize::from(prefix_bits), prefix)
            .map_err(|_| Error::Shard)?;
        let layout = Layout::new(slot, items)?;
        if [m0, m1, m2, m3, m4, m5, m6, m7] != MAGIC || bytes.len() != layout.end {
            return Err(Error::Shard);
        }
        Ok(Self { slot, layout, bytes })
    }

    /// The number of items that the header states.
    pub fn len(&self) -> usize {
        self.layout.items
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.layout.items == 0
    }

    /// This shard, if it is the one of a slot.
    ///
    /// # Errors
    /// `Shard` where it is another's.
    pub fn require(self, slot: Slot) -> Result<Self, Error> {
        if self.slot == slot { Ok(self) } else { Err(Error::Shard) }
    }

    /// Verify that the bytes are the one encoding of what they hold.
    ///
    /// # Errors
    /// `Shard` where they are not: a count, the order, the directory or the padding is wrong.
    pub fn verify(&self) -> Result<(), Error> {
        let Layout { items, buckets, low_bits, .. } = self.layout;
        let (mut at, mut row) = (0, 0);
        for bucket in 0..buckets {
            if bucket % SAMPLED == 0 && self.sample(bucket / SAMPLED) != Some(row) {
                return Err(Error::Shard);
            }
            let first = row;
            while self.high(at) {
                let in_order = row == first || self.low(row - 1) < self.low(row);
                if row == items || row - first == MAX_BUCKET || !in_order {
                    return Err(Error::Shard);
                }
                (at, row) = (at + 1, row + 1);
            }
            at += 1;
        }
        let padded = is_padded(self.high_bits(), items + buckets)
            && is_padded(self.low_values(), items * low_bits as usize);
        if row == items && padded { Ok(()) } else { Err(Error::Shard) }
    }

    /// Whether the shard holds a fingerprint.
    ///
    /// One that was not verified gives any answer, but never a panic and never long work.
    fn contains(&self, fingerprint: u128) -> bool {
        self.find(fingerprint).is_some()
    }

    fn find(&self, fingerprint: u128) -> Option<usize> {
        let rest = self.slot.rest(fingerprint)?;
        let bucket = usize::try_from(rest >> self.layout.low_bits).ok()?;
        let wanted = rest & mask(self.layout.low_bits);
        let sampled = bucket - bucket % SAMPLED;
        let mut at = sampled + self.sample(bucket / SAMPLED)?;
        at = self.after_zeros(at, bucket - sampled)?;
        for at in at..at + MAX_BUCKET {
            let row = at.checked_sub(bucket).filter(|&row| row < self.layout.items)?;
            if !self.high(at) {
                return None;
            }
            match self.low(row).cmp(&wanted) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Some(row),
                std::cmp::Ordering::Greater => return None,
            }
        }
        None
    }

    fn high_bits(&self) -> &'a [u8] {
        &self.bytes[self.layout.high_at..self.layout.low_at]
    }

    fn low_values(&self) -> &'a [u8] {
        &self.bytes[self.layout.low_at..]
    }

    /// The items before a bucket whose number is a multiple of [`SAMPLED`].
    fn sample(&self, index: usize) -> Option<usize> {
        let samples: &[[u8; SAMPLE_BYTES]] =
            self.bytes[HEADER_BYTES..self.layout.high_at].as_chunks().0;
        samples.get(index).map(|sample| u32::from_le_bytes(*sample) as usize)
    }

    /// Whether a high bit is set; past the end none is.
    fn high(&self, at: usize) -> bool {
        self.high_bits().get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }

    /// The low bits of an item.
    fn low(&self, row: usize) -> u128 {
        read_bits(self.low_values(), row * self.layout.low_bits as usize, self.layout.low_bits)
    }

    /// The place after `zeros` more zero bits, counted from bit `at` of the high bits.
    fn after_zeros(&self, at: usize, zeros: usize) -> Option<usize> {
        let (mut at, mut wanted) = (at, zeros);
        while wanted > 0 {
            let word_at = at / 64 * 8;
            if word_at >= self.high_bits().len() {
                return None;
            }
            // Ones below `at`, so that its word counts from there on.
            let word = word(self.high_bits(), word_at) | ((1 << (at % 64)) - 1);
            let found = word.count_zeros() as usize;
            if found < wanted {
                (at, wanted) = (word_at * 8 + 64, wanted - found);
                continue;
            }
            let mut zeros = !word;
            for _ in 1..wanted {
                zeros &= zeros - 1;
            }
            return Some(word_at * 8 + zeros.trailing_zeros() as usize + 1);
        }
        Some(at)
    }
}

fn write_header(bytes: &mut [u8], slot: Slot, layout: Layout) -> Result<(), Error> {
    let items = u32::try_from(layout.items).map_err(|_| Error::Fingerprints)?;
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&items.to_le_bytes());
    bytes[12] = slot.bits;
    bytes[13] = slot.prefix_bits;
    bytes[14..16].copy_from_slice(&slot.prefix.to_le_bytes());
    Ok(())
}

/// Write the directory, the high bits and the low bits of increasing values.
fn write_values(bytes: &mut [u8], layout: Layout, values: &[u128]) -> Result<(), Error> {
    let (head, low) = bytes.split_at_mut(layout.low_at);
    let (head, high) = head.split_at_mut(layout.high_at);
    let mut row = 0;
    for bucket in 0..layout.buckets {
        if bucket % SAMPLED == 0 {
            let at = HEADER_BYTES + bucket / SAMPLED * SAMPLE_BYTES;
            let before = u32::try_from(row).map_err(|_| Error::Fingerprints)?;
            head[at..at + SAMPLE_BYTES].copy_from_slice(&before.to_le_bytes());
        }
        let first = row;
        while row < values.len() && values[row] >> layout.low_bits == bucket as u128 {
            if row - first == MAX_BUCKET {
                return Err(Error::Fingerprints);
            }
            let at = bucket + row;
            high[at / 8] |= 1 << (at % 8);
            let value = values[row] & mask(layout.low_bits);
            write_bits(low, row * layout.low_bits as usize, value);
            row += 1;
        }
    }
    Ok(())
}

/// The rows of a sorted run that are in a slot.
fn rows_of_slot(run: FixedRows<'_>, slot: Slot) -> Result<std::ops::Range<usize>, Error> {
    if run.width() != slot.width() {
        return Err(Error::Fingerprints);
    }
    let first = u128::from(slot.prefix) << slot.rest_bits();
    let last = first + mask(slot.rest_bits());
    let whole = Slot { prefix_bits: 0, prefix: 0, ..slot };
    let below = |bound: u128, inclusive: bool| {
        let (mut low, mut high) = (0, run.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let value = number(run.value(middle), whole).ok_or(Error::Fingerprints)?;
            if value < bound || (inclusive && value == bound) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    };
    Ok(below(first, false)?..below(last, true)?)
}

fn numbers(
    rows: FixedRows<'_>,
    slot: Slot,
    range: std::ops::Range<usize>,
) -> Result<Vec<u128>, Error> {
    range
        .into_par_iter()
        .map(|row| number(rows.value(row), slot).ok_or(Error::Fingerprints))
        .collect()
}

/// A fingerprint as a number; `None` where it has another width or bits after the last one.
fn number(fingerprint: &[u8], slot: Slot) -> Option<u128> {
    if fingerprint.len() != slot.width() {
        return None;
    }
    let mut aligned = [0; 16];
    aligned[..fingerprint.len()].copy_from_slice(fingerprint);
    let aligned = u128::from_be_bytes(aligned);
    let unused = 128 - u32::from(slot.bits);
    (aligned & mask(unused) == 0).then_some(aligned >> unused)
}

/// Ones in the lowest `bits` bits, which are fewer than 128.
fn mask(bits: u32) -> u128 {
    (1 << bits) - 1
}

/// Eight bytes, the first the lowest; past the end they are zero.
fn word(bytes: &[u8], at: usize) -> u64 {
    let rest = &bytes[at.min(bytes.len())..];
    if let Some(whole) = rest.first_chunk() {
        return u64::from_le_bytes(*whole);
    }
    let mut padded = [0; 8];
    padded[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(padded)
}

/// `bits` bits from bit `at` on, the first the lowest; past the end they are zero.
///
/// They are at most [`MAX_BITS`], so with the up to 7 before them they fit two words.
fn read_bits(bytes: &[u8], at: usize, bits: u32) -> u128 {
    let (byte, shift) = (at / 8, at % 8);
    let words = u128::from(word(bytes, byte)) | u128::from(word(bytes, byte + 8)) << 64;
    words >> shift & mask(bits)
}

/// Set the bits of `value`, at most [`MAX_BITS`], from bit `at` on, where zeros stand now.
fn write_bits(bytes: &mut [u8], at: usize, value: u128) {
    let shifted = (value << (at % 8)).to_le_bytes();
    for (place, bits) in bytes.iter_mut().skip(at / 8).zip(shifted) {
        *place |= bits;
    }
}

/// Whether the bits after the first `bits` of a part's last byte are zero.
fn is_padded(part: &[u8], bits: usize) -> bool {
    bits.is_multiple_of(8) || part.last().is_none_or(|last| last >> (bits % 8) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers as uniform as a PRF's outputs (splitmix64).
    fn uniform(seed: u64, count: usize, bits: usize) -> Vec<u128> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(mixed ^ (mixed >> 31))
        };
        (0..count).map(|_| (next() << 64 | next()) >> (128 - bits)).collect()
    }

    fn column(values: &[u128], bits: usize) -> Vec<u8> {
        let whole = |value: &u128| (value << (128 - bits)).to_be_bytes();
        values.iter().flat_map(|value| whole(value)[..bits.div_ceil(8)].to_vec()).collect()
    }

    fn encoded(values: &[u128], bits: usize, prefix_bits: usize) -> Vec<Vec<u8>> {
        let width = bits.div_ceil(8);
        let values = column(values, bits);
        let run = sort_distinct(FixedRows::new(&values, width).unwrap(), bits).unwrap();
        let run = FixedRows::new(&run, width).unwrap();
        (0..1 << prefix_bits)
            .map(|prefix| encode(&[run], Slot::new(bits, prefix_bits, prefix).unwrap()).unwrap().0)
            .collect()
    }

    #[test]
    fn a_look_up_finds_what_was_encoded_and_nothing_else() {
        for (count, bits, prefix_bits) in [
            (0, 84, 0),
            (1, 84, 0),
            (1, 120, 3),
            (2, 41, 1),
            (255, 61, 0),
            (256, 84, 2),
            (257, 84, 0),
            (1_000, 84, 3),
            (5_000, 113, 4),
            (70_000, 84, 0),
        ] {
            let values = uniform(count as u64, count, bits);
            let shards = encoded(&values, bits, prefix_bits);
            let mut items = 0;
            for shard in &shards {
                let shard = Shard::parse(shard).unwrap();
                shard.verify().unwrap();
                items += shard.len();
            }
            assert_eq!(items, count);
            let borrowed: Vec<&[u8]> = shards.iter().map(Vec::as_slice).collect();
            let near = |value: &u128| [*value, *value ^ 1, *value ^ (1 << (bits - 1))];
            let needles: Vec<u128> = values.iter().flat_map(near).collect();
            let asked = column(&needles, bits);
            let asked = FixedRows::new(&asked, bits.div_ceil(8)).unwrap();
            let found = lookup(&borrowed, asked, bits).unwrap();
            let held: std::collections::HashSet<u128> = values.iter().copied().collect();
            let right: Vec<bool> = needles.iter().map(|needle| held.contains(needle)).collect();
            assert_eq!(found, right);
        }
    }

    #[test]
    fn runs_are_merged_and_what_two_of_them_hold_is_held_once() {
        let (bits, width) = (84, 11);
        let values = uniform(7, 3_000, bits);
        let run = |part: &[u128]| {
            let column = column(part, bits);
            sort_distinct(FixedRows::new(&column, width).unwrap(), bits).unwrap()
        };
        let runs = [run(&values[..2_000]), run(&values[1_000..]), run(&[])];
        let runs: Vec<_> = runs.iter().map(|run| FixedRows::new(run, width).unwrap()).collect();
        let slot = Slot::new(bits, 0, 0).unwrap();
        let (merged, items) = encode(&runs, slot).unwrap();
        assert_eq!(items, 3_000);
        assert_eq!(merged, encoded(&values, bits, 0)[0]);
    }

    #[test]
    fn no_changed_bit_and_no_other_length_is_the_encoding_of_anything_else() {
        for (count, bits) in [(0, 84), (1, 84), (37, 84), (300, 61)] {
            let values = uniform(count as u64, count, bits);
            let whole = encoded(&values, bits, 0).remove(0);
            for at in 0..whole.len() * 8 {
                let mut changed = whole.clone();
                changed[at / 8] ^= 1 << (at % 8);
                if let Ok(shard) = Shard::parse(&changed)
                    && shard.verify().is_ok()
                {
                    // A low bit gives another fingerprint, which only the digest can tell.
                    let slot = shard.slot;
                    let held: Vec<u128> = decoded(&shard);
                    let column = column(&held, usize::from(slot.bits));
                    let rows = FixedRows::new(&column, slot.width()).unwrap();
                    assert_eq!(encode(&[rows], slot).unwrap().0, changed);
                }
                let _ = lookup(
                    &[&changed],
                    FixedRows::new(&column(&values, bits), bits.div_ceil(8)).unwrap(),
                    bits,
                );
            }
            for length in 0..whole.len() {
                assert_eq!(Shard::parse(&whole[..length]).unwrap_err(), Error::Shard);
            }
            let longer = [whole.as_slice(), &[0]].concat();
            assert_eq!(Shard::parse(&longer).unwrap_err(), Error::Shard);
        }
    }

    /// The fingerprints that a verified shard holds.
    fn decoded(shard: &Shard<'_>) -> Vec<u128> {
        let prefix = u128::from(shard.slot.prefix) << shard.slot.rest_bits();
        let (mut held, mut at) = (vec![], 0);
        for bucket in 0..shard.layout.buckets as u128 {
            while shard.high(at) {
                let low = shard.low(held.len());
                held.push(prefix | bucket << shard.layout.low_bits | low);
                at += 1;
            }
            at += 1;
        }
        held
    }

    #[test]
    fn fingerprints_of_no_prf_are_refused_rather_than_looked_up_slowly() {
        let values: Vec<u128> = (0..100).collect();
        let column = column(&values, 84);
        let rows = FixedRows::new(&column, 11).unwrap();
        let refused = encode(&[rows], Slot::new(84, 0, 0).unwrap());
        assert_eq!(refused.unwrap_err(), Error::Fingerprints);
    }

    #[test]
    fn a_shard_in_another_place_or_of_other_bits_is_refused() {
        let shards = encoded(&uniform(1, 500, 84), 84, 1);
        let needles = FixedRows::new(&[0; 11], 11).unwrap();
        let swapped = [shards[1].as_slice(), &shards[0]];
        assert_eq!(lookup(&swapped, needles, 84).unwrap_err(), Error::Shard);
        let right = [shards[0].as_slice(), &shards[1]];
        assert_eq!(lookup(&right, needles, 83).unwrap_err(), Error::Shard);
        assert_eq!(lookup(&right[..0], needles, 84).unwrap_err(), Error::Fingerprints);
    }

    #[test]
    fn two_to_the_24_items_of_84_bits_take_less_than_8_bytes_each() {
        let slot = Slot::new(84, 4, 0).unwrap();
        for items in [1 << 20, (1 << 20) + 4_000, (1 << 20) - 4_000] {
            let bytes = Layout::new(slot, items).unwrap().end;
            assert!(bytes * 100 < items * 779, "{bytes} bytes for {items} items");
        }
    }
}
