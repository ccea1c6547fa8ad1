//! One suite that every instruction set of this CPU must pass: each operation
//! must agree, lane for lane, with plain Rust on scalars.

use super::*;

/// Values that are awkward somewhere: signs, zeros, ties, infinities, NaN.
const AWKWARD: [f32; 12] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    2.5,
    1e-40,
    3.402_823_4e38,
    -7.25,
    0.5,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// Runs a check, generic over the instruction set, on all that this CPU has.
macro_rules! on_every_isa {
    (|$simd:ident: $S:ident| $check:block) => {{
        struct Check;
        impl Operation for Check {
            type Output = ();
            #[inline(always)]
            fn eval<$S: Simd>(self, $simd: $S) $check
        }
        Isa::available().for_each(|isa| isa.run(Check));
    }};
}

/// All pairs of awkward values, as vectors whose lanes differ.
fn operands(lanes: usize) -> impl Iterator<Item = (Vec<f32>, Vec<f32>)> {
    let lane = move |start: usize| (0..lanes).map(move |i| AWKWARD[(start + i) % AWKWARD.len()]);
    let start = 0..AWKWARD.len();
    start
        .clone()
        .flat_map(move |a| start.clone().map(move |b| (lane(a).collect(), lane(b).collect())))
}

fn stored<S: Simd>(simd: S, v: S::F32) -> Vec<f32> {
    let mut lanes = vec![0.0; S::LANES];
    simd.store(v, &mut lanes);
    lanes
}

fn assert_same(what: &str, isa: &str, found: f32, expected: f32) {
    let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
    assert!(same, "{what} on {isa}: {found} instead of {expected}");
}

/// Whether something panics; taken for granted where that can't be caught.
fn panics(f: impl FnOnce()) -> bool {
    cfg!(panic = "abort") || std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err()
}

#[test]
fn arithmetic_agrees_with_scalars() {
    on_every_isa!(|simd: S| {
        let check = |what, v, scalar: fn(f32, f32) -> f32, a: &[f32], b: &[f32]| {
            for ((found, &a), &b) in stored(simd, v).into_iter().zip(a).zip(b) {
                assert_same(what, simd.name(), found, scalar(a, b));
            }
        };
        for (a, b) in operands(S::LANES) {
            let (x, y) = (simd.load(&a), simd.load(&b));
            check("add", simd.add(x, y), |a, b| a + b, &a, &b);
            check("sub", simd.sub(x, y), |a, b| a - b, &a, &b);
            check("mul", simd.mul(x, y), |a, b| a * b, &a, &b);
            check("div", simd.div(x, y), |a, b| a / b, &a, &b);
            check("sqrt", simd.sqrt(x), |a, _| a.sqrt(), &a, &b);
            check("max", simd.max(x, y), |a, b| if a > b { a } else { b }, &a, &b);
            check("min", simd.min(x, y), |a, b| if a < b { a } else { b }, &a, &b);
        }
    });
}

#[test]
fn fma_is_within_its_rounding() {
    on_every_isa!(|simd: S| {
        let (a, b, c) = (1.000_000_1_f32, -3.25_f32, 0.75_f32);
        let found = stored(simd, simd.fma(simd.splat(a), simd.splat(b), simd.splat(c)));
        let exact = f64::from(a) * f64::from(b) + f64::from(c);
        assert!(found.iter().all(|&f| (f64::from(f) - exact).abs() < 4e-7), "{}", simd.name());
    });
}

#[test]
fn comparisons_select_and_bits_agree_with_scalars() {
    on_every_isa!(|simd: S| {
        for (a, b) in operands(S::LANES) {
            let (x, y) = (simd.load(&a), simd.load(&b));
            for (mask, holds) in [
                (simd.gt(x, y), (|a, b| a > b) as fn(f32, f32) -> bool),
                (simd.ge(x, y), |a, b| a >= b),
            ] {
                let bits = simd.mask_to_bits(mask);
                let chosen = stored(simd, simd.select(mask, x, y));
                let again = stored(simd, simd.select(simd.mask_from_bits(bits), x, y));
                assert_eq!(u32::from(bits) >> S::LANES, 0);
                for i in 0..S::LANES {
                    let expected = holds(a[i], b[i]);
                    assert_eq!(bits >> i & 1 == 1, expected, "{} lane {i}", simd.name());
                    let expected = if expected { a[i] } else { b[i] };
                    assert_same("select", simd.name(), chosen[i], expected);
                    assert_same("mask_from_bits", simd.name(), again[i], expected);
                }
            }
        }
    });
}

#[test]
fn rounding_and_powers_are_exact() {
    on_every_isa!(|simd: S| {
        for value in [0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 3.49, -126.0, 127.0, 1e6 + 0.5] {
            let found = stored(simd, simd.round(simd.splat(value)));
            assert!(found.iter().all(|&f| f == value.round_ties_even()), "{value}: {found:?}");
        }
        for exponent in -126..=127 {
            let found = stored(simd, simd.pow2(simd.splat(exponent as f32)));
            assert!(found.iter().all(|&f| f == 2f32.powi(exponent)), "{exponent}: {found:?}");
        }
    });
}

#[test]
fn reductions_see_every_lane() {
    on_every_isa!(|simd: S| {
        for lane in 0..S::LANES {
            let mut values: Vec<f32> = (0..S::LANES).map(|i| i as f32 - 20.0).collect();
            let total: f32 = values.iter().sum();
            assert_eq!(simd.sum(simd.load(&values)), total);
            values[lane] = 1000.0;
            assert_eq!(simd.max_lane(simd.load(&values)), 1000.0);
        }
    });
}

#[test]
fn partial_access_stays_inside() {
    on_every_isa!(|simd: S| {
        let values: Vec<f32> = (1..=2 * S::LANES).map(|i| i as f32).collect();
        for count in 0..=2 * S::LANES {
            let inside = count.min(S::LANES);
            let loaded = stored(simd, simd.load_partial(&values[..count]));
            assert_eq!(loaded[..inside], values[..inside]);
            assert!(loaded[inside..].iter().all(|&lane| lane == 0.0));

            let mut places = vec![-1.0; 2 * S::LANES];
            simd.store_partial(simd.load(&values), &mut places[..count]);
            assert_eq!(places[..inside], values[..inside]);
            assert!(places[inside..].iter().all(|&place| place == -1.0));
        }
    });
}

#[test]
fn even_values_are_loaded_and_put_back() {
    on_every_isa!(|simd: S| {
        let values: Vec<f32> = (0..2 * S::LANES + 1).map(|i| i as f32).collect();
        let [even, odd] = [0, 1].map(|first| simd.load_even(&values[first..]));
        let expected: Vec<f32> = (0..S::LANES).map(|i| 2.0 * i as f32).collect();
        assert_eq!(stored(simd, even)[..S::LANES], expected);
        let [first, last] = [0, S::LANES].map(|first| simd.load(&values[first..]));
        assert_eq!(
            simd.deinterleave(first, last).map(|v| stored(simd, v)),
            [even, odd].map(|v| stored(simd, v))
        );
        let [low, high] = simd.interleave(even, odd).map(|v| stored(simd, v));
        assert_eq!(low[..S::LANES], values[..S::LANES]);
        assert_eq!(high[..S::LANES], values[S::LANES..2 * S::LANES]);
    });
}

#[test]
fn lanes_are_shifted_by_one() {
    on_every_isa!(|simd: S| {
        let values: Vec<f32> = (1..=S::LANES).map(|i| i as f32).collect();
        let up = stored(simd, simd.shift_up(simd.load(&values)));
        assert_eq!(up[0], 0.0);
        assert_eq!(up[1..S::LANES], values[..S::LANES - 1]);
        let down = stored(simd, simd.shift_down(simd.load(&values)));
        assert_eq!(down[..S::LANES - 1], values[1..]);
        assert_eq!(down[S::LANES - 1], 0.0);
    });
}

#[test]
fn strided_vectors_are_loaded_and_bounded() {
    on_every_isa!(|simd: S| {
        let step = S::LANES + 3;
        let values: Vec<f32> = (0..2 * step + S::LANES).map(|i| i as f32).collect();
        let vectors = simd.load_strided::<3>(&values, step);
        for (i, vector) in vectors.into_iter().enumerate() {
            assert_eq!(stored(simd, vector), values[i * step..][..S::LANES]);
        }
        assert!(panics(|| _ = simd.load_strided::<3>(&values[1..], step)));
        assert!(panics(|| _ = simd.load_strided::<3>(&values, usize::MAX)));
    });
}

#[test]
fn strided_pieces_stay_inside() {
    let values: Vec<f32> = (0..10).map(|i| i as f32).collect();
    let pieces: Vec<_> = strided(&values, 4, 2, 3).collect();
    assert_eq!(pieces, [[0.0, 1.0], [4.0, 5.0], [8.0, 9.0]]);
    assert_eq!(strided(&values, 0, 10, 2).count(), 2);
    assert_eq!(strided::<f32>(&[], 4, 2, 0).count(), 0);
    assert!(panics(|| _ = strided(&values, 4, 3, 3).count()));
    assert!(panics(|| _ = strided(&values, 4, 11, 1).count()));
    assert!(panics(|| _ = strided(&values, usize::MAX, 1, 3).count()));
    assert!(panics(|| _ = strided(&values, 11, 1, 2).count()));
}

#[test]
fn slices_are_seen_as_vectors() {
    #[repr(align(64))]
    struct Aligned([f32; 64]);

    on_every_isa!(|simd: S| {
        let values = Aligned(std::array::from_fn(|i| i as f32));
        let vectors = simd.as_vectors(&values.0);
        assert_eq!(vectors.len(), 64 / S::LANES);
        let seen: Vec<f32> = vectors.iter().flat_map(|&v| stored(simd, v)).collect();
        assert_eq!(seen, values.0);
        assert!(panics(|| _ = simd.as_vectors(&values.0[1..])));
    });
}

/// Whole numbers that are awkward somewhere, from a place on.
fn words(start: usize, count: usize) -> Vec<u16> {
    const WORDS: [u16; 7] = [0, 1, 255, 256, 32_767, 32_768, 65_535];
    (start..start + count).map(|i| WORDS[i % WORDS.len()]).collect()
}

fn stored_words<S: Simd>(simd: S, v: S::U16) -> Vec<u16> {
    let mut lanes = vec![0; 2 * S::LANES];
    simd.store_u16(v, &mut lanes);
    lanes
}

#[test]
fn whole_numbers_agree_with_scalars() {
    on_every_isa!(|simd: S| {
        for (a, b) in (0..7).flat_map(|a| (0..7).map(move |b| (a, b))) {
            let [a, b] = [a, b].map(|start| words(start, 2 * S::LANES));
            let (x, y) = (simd.load_u16(&a), simd.load_u16(&b));
            let check = |what, v, scalar: fn(u16, u16) -> u16| {
                let expected = a.iter().zip(&b).map(|(a, b)| scalar(*a, *b));
                let found = stored_words(simd, v);
                assert!(expected.eq(found), "{what} on {}: {a:?}, {b:?}", simd.name());
            };
            check("add", simd.add_u16(x, y), u16::wrapping_add);
            let mask = simd.splat_u16(0xF01F);
            check("blend", simd.blend_u16(mask, x, y), |a, b| a & 0xF01F | b & 0x0FE0);
            check("odd bytes", simd.odd_bytes(x), |a, _| a / 256);
            let even: fn(u16, u16) -> u16 = |a, b| a.wrapping_sub(b.wrapping_mul(256));
            check("even bytes", simd.even_bytes(x, y), even);
        }
        assert_eq!(stored_words(simd, simd.splat_u16(40_000)), vec![40_000; 2 * S::LANES]);
    });
}

#[test]
fn bytes_are_loaded_in_pairs() {
    on_every_isa!(|simd: S| {
        let bytes: Vec<u8> = (0..4 * S::LANES + 1).map(|i| (255 - 3 * i % 256) as u8).collect();
        for first in [0, 1] {
            let pairs = bytes[first..].as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair));
            let found = stored_words(simd, simd.load_pairs(&bytes[first..]));
            assert!(pairs.take(2 * S::LANES).eq(found), "{}", simd.name());
            let mut places = vec![7; 4 * S::LANES + 1];
            simd.store_bytes(simd.load_pairs(&bytes[first..]), &mut places);
            assert_eq!(places[..4 * S::LANES], bytes[first..][..4 * S::LANES], "{}", simd.name());
            assert_eq!(places.last(), Some(&7), "{}", simd.name());
        }
        let even = bytes.iter().step_by(2);
        for count in 0..=2 * S::LANES + 1 {
            let mut places = vec![7; count];
            simd.store_even(simd.load_pairs(&bytes), &mut places);
            let expected = even.clone().take(2 * S::LANES).chain([&7]);
            assert!(expected.take(count).eq(&places), "{count} on {}", simd.name());
        }
    });
}

#[test]
fn products_of_whole_numbers_become_bytes() {
    const FACTORS: [[i16; 2]; 5] =
        [[1, 0], [0, 1], [-3, 7], [i16::MAX, i16::MIN], [i16::MIN, i16::MIN]];
    on_every_isa!(|simd: S| {
        let [a, b, c, d] = [0, 2, 3, 5].map(|start| words(start, 2 * S::LANES));
        let [even, odd] = [[&a, &b], [&c, &d]];
        for (factors, start, bits) in
            FACTORS.into_iter().flat_map(|f| [(f, 0, 0), (f, -77, 8), (f, i32::MAX, 22)])
        {
            let totals = [even, odd].map(|pair| {
                let [first, second] = pair.map(|words| simd.load_u16(words));
                simd.pair_words(first, second).map(|words| {
                    let factors = simd.splat_words(factors);
                    simd.shift_right(simd.add_products(simd.splat_i32(start), words, factors), bits)
                })
            });
            let byte = |a: u16, b: u16| {
                let [first, second] = factors.map(i32::from);
                let products = (i32::from(a as i16) * first, i32::from(b as i16) * second);
                let total = start.wrapping_add(products.0).wrapping_add(products.1);
                (total >> bits).clamp(0, 255) as u8
            };
            let expected = (0..2 * S::LANES).flat_map(|i| [byte(a[i], b[i]), byte(c[i], d[i])]);
            let mut bytes = vec![7; 4 * S::LANES + 1];
            simd.store_bytes(simd.pack_bytes(totals[0], totals[1]), &mut bytes);
            let what = (simd.name(), factors, start, bits);
            assert!(expected.chain([7]).eq(bytes), "{what:?}");
        }
    });
}

#[test]
fn totals_agree_with_scalars() {
    const TOTALS: [i32; 5] = [0, -1, 1 << 20, i32::MAX, i32::MIN];
    on_every_isa!(|simd: S| {
        let stored = |v| {
            let mut lanes = vec![0; S::LANES];
            simd.store_i32(v, &mut lanes);
            lanes
        };
        let numbers: Vec<i32> = (0..S::LANES).map(|i| TOTALS[i % TOTALS.len()]).collect();
        let v = simd.load_i32(&numbers);
        for other in TOTALS {
            let sums = numbers.iter().map(|number| number.wrapping_add(other));
            assert!(sums.eq(stored(simd.add_i32(v, simd.splat_i32(other)))), "{}", simd.name());
        }
        for bits in [0, 1, 24, 31] {
            let shifted = numbers.iter().map(|number| number >> bits);
            assert!(shifted.eq(stored(simd.shift_right(v, bits))), "{} by {bits}", simd.name());
        }
        let pairs = words(1, 2 * S::LANES);
        let v = simd.load_u16(&pairs);
        let products = pairs.iter().map(|word| word.wrapping_mul(128));
        assert!(products.eq(stored_words(simd, simd.times_128(v))), "{}", simd.name());
        let clamped = pairs
            .iter()
            .map(|pair| u16::from_le_bytes(pair.to_le_bytes().map(|byte| byte.clamp(3, 254))));
        assert!(clamped.eq(stored_words(simd, simd.clamp_bytes(v, 3, 254))), "{}", simd.name());
    });
}

#[test]
fn short_slices_are_refused() {
    on_every_isa!(|simd: S| {
        let mut short = vec![0.0; S::LANES - 1];
        assert!(panics(|| _ = simd.load(&short)));
        assert!(panics(|| simd.store(simd.splat(0.0), &mut short)));
        let mut short = vec![0u16; 2 * S::LANES - 1];
        assert!(panics(|| _ = simd.load_u16(&short)));
        assert!(panics(|| simd.store_u16(simd.splat_u16(0), &mut short)));
        let mut short = vec![0u8; 4 * S::LANES - 1];
        assert!(panics(|| _ = simd.load_pairs(&short)));
        assert!(panics(|| simd.store_bytes(simd.splat_u16(0), &mut short)));
        let mut short = vec![0i32; S::LANES - 1];
        assert!(panics(|| _ = simd.load_i32(&short)));
        assert!(panics(|| simd.store_i32(simd.splat_i32(0), &mut short)));
    });
}

#[test]
fn instruction_sets_are_found_by_name() {
    for isa in Isa::available() {
        assert_eq!(Isa::named(isa.name()), Ok(isa));
    }
    let unknown = Isa::named("mmx").unwrap_err();
    assert_eq!(unknown, IsaError::Unknown { name: "mmx".into() });
    assert!(unknown.to_string().contains("portable"));
    let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    assert_eq!(Isa::named(foreign), Err(IsaError::Unavailable { name: foreign.into() }));
}
