//! G.711 (ITU-T Recommendation, 1988): μ-law and A-law, 8 bits a sample.
//!
//! It knows the two companding laws as tables that the compiler computes. Linear values are 16 bits
//! wide with the law's 14 or 13 bits on top, rounded as the ITU's software tool library (G.191) does.
#![allow(clippy::indexing_slicing, reason = "each table has an entry for every value of its index")]

/// μ-law for zero.
pub const ULAW_SILENCE: u8 = 0xFF;

/// A-law for the smallest positive value; the law has no zero.
pub const ALAW_SILENCE: u8 = 0xD5;

/// One μ-law byte as a linear sample.
#[inline]
pub fn ulaw_to_linear(code: u8) -> i16 {
    ULAW_EXPAND[code as usize]
}

/// One A-law byte as a linear sample.
#[inline]
pub fn alaw_to_linear(code: u8) -> i16 {
    ALAW_EXPAND[code as usize]
}

/// One linear sample in μ-law; clips at ±32 124.
#[inline]
pub fn linear_to_ulaw(sample: i16) -> u8 {
    ULAW_COMPRESS[(sample as u16 >> 2) as usize]
}

/// One linear sample in A-law.
#[inline]
pub fn linear_to_alaw(sample: i16) -> u8 {
    ALAW_COMPRESS[(sample as u16 >> 4) as usize]
}

static ULAW_EXPAND: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < table.len() {
        table[code] = expand_ulaw(code as u8);
        code += 1;
    }
    table
};

static ALAW_EXPAND: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < table.len() {
        table[code] = expand_alaw(code as u8);
        code += 1;
    }
    table
};

/// By the upper 14 bits of the sample: the lower two never matter.
static ULAW_COMPRESS: [u8; 1 << 14] = {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < table.len() {
        table[index] = compress_ulaw((index << 2) as u16 as i16);
        index += 1;
    }
    table
};

/// By the upper 12 bits of the sample: the lower four never matter.
static ALAW_COMPRESS: [u8; 1 << 12] = {
    let mut table = [0; 1 << 12];
    let mut index = 0;
    while index < table.len() {
        table[index] = compress_alaw((index << 4) as u16 as i16);
        index += 1;
    }
    table
};

/// What μ-law adds before it takes the logarithm, in 16-bit units.
const ULAW_BIAS: i32 = 33 << 2;

const fn expand_ulaw(code: u8) -> i16 {
    let inverted = !code;
    let mantissa = (inverted & 0x0F) as i32;
    let segment = (inverted >> 4) & 0x07;
    let magnitude = (((mantissa << 3) + ULAW_BIAS) << segment) - ULAW_BIAS;
    let negative = inverted & 0x80 != 0;
    (if negative { -magnitude } else { magnitude }) as i16
}

const fn compress_ulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x00 } else { 0x80 };
    let magnitude = (if sample < 0 { !sample } else { sample }) as u32 >> 2;
    let biased = magnitude + (ULAW_BIAS as u32 >> 2);
    let biased = if biased > 0x1FFF { 0x1FFF } else { biased };
    // 33 (the bias) has its top bit at 5: segment 0; 0x1FFF at 12: segment 7.
    let segment = biased.ilog2() - 5;
    let mantissa = (biased >> (segment + 1)) & 0x0F;
    sign | (!((segment << 4) | mantissa) as u8 & 0x7F)
}

const fn expand_alaw(code: u8) -> i16 {
    let code = code ^ 0x55;
    let mantissa = (code & 0x0F) as i32;
    let segment = (code >> 4) & 0x07;
    let magnitude = match segment {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (segment - 1),
    };
    let positive = code & 0x80 != 0;
    (if positive { magnitude } else { -magnitude }) as i16
}

const fn compress_alaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x00 } else { 0x80 };
    let magnitude = (if sample < 0 { !sample } else { sample }) as u32 >> 4;
    let code = if magnitude < 32 {
        // Segments 0 and 1 are one straight line.
        magnitude
    } else {
        let segment = magnitude.ilog2() - 3;
        (segment << 4) | ((magnitude >> (segment - 1)) & 0x0F)
    };
    (sign | code as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of G.711's tables 1a, 1b, 2a and 2b (decision value × 4 in μ-law, × 8 in A-law).
    #[test]
    fn expands_as_the_tables_of_g711() {
        let ulaw = [
            (0x00, -32124),
            (0x80, 32124),
            (0x8F, 16764),
            (0x9F, 8316),
            (0xEF, 132),
            (0xF0, 120),
            (0xFE, 8),
            (0xFF, 0),
            (0x7F, 0),
            (0x7E, -8),
        ];
        for (code, linear) in ulaw {
            assert_eq!(ulaw_to_linear(code), linear, "μ-law {code:#04x}");
        }
        let alaw = [
            (0xAA, 32256),
            (0x2A, -32256),
            (0xA5, 16896),
            (0xD5, 8),
            (0x55, -8),
            (0xD4, 24),
            (0xC5, 264),
        ];
        for (code, linear) in alaw {
            assert_eq!(alaw_to_linear(code), linear, "A-law {code:#04x}");
        }
    }

    #[test]
    fn every_code_comes_back_from_its_own_value() {
        for code in 0..=255u8 {
            let twin = if code == 0x7F { 0xFF } else { code }; // minus zero is zero
            assert_eq!(linear_to_ulaw(ulaw_to_linear(code)), twin);
            assert_eq!(linear_to_alaw(alaw_to_linear(code)), code);
        }
    }

    #[test]
    fn every_sample_goes_to_the_nearest_code() {
        for sample in i16::MIN..=i16::MAX {
            let x = i32::from(sample);
            for (law, back) in [
                ("μ", ulaw_to_linear(linear_to_ulaw(sample))),
                ("A", alaw_to_linear(linear_to_alaw(sample))),
            ] {
                let off = (x.clamp(-32_124, 32_124) - i32::from(back)).abs();
                // Half a step: 1/32 of the value and the law's smallest steps (8 and 16).
                assert!(off <= x.abs() / 32 + 8, "{law}-law {x} → {back}");
            }
        }
    }

    #[test]
    fn full_scale_keeps_its_sign() {
        assert_eq!(linear_to_ulaw(i16::MAX), 0x80);
        assert_eq!(linear_to_ulaw(i16::MIN), 0x00);
        assert_eq!(linear_to_alaw(i16::MAX), 0xAA);
        assert_eq!(linear_to_alaw(i16::MIN), 0x2A);
    }
}
