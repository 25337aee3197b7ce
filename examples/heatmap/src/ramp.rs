//! The colours that stand for weights, and the scale that they are read on.

use vello::peniko::Color;
use vello::peniko::color::{ColorSpace, Oklab, OpaqueColor, Srgb};

/// Colours that the ramp passes through, `[L, a, b]` in Oklab: from paper through apricot, rose and violet to ink. L
/// falls in equal steps, so that equal steps of tone look equal, in print without colours too.
const STOPS: [[f32; 3]; 6] = [
    [0.975, 0.000, 0.012],
    [0.830, 0.050, 0.075],
    [0.685, 0.135, 0.055],
    [0.540, 0.150, -0.045],
    [0.395, 0.085, -0.130],
    [0.250, 0.015, -0.090],
];

/// Steps of the ramp on the device: one is a tenth more weight, about, which is invisible.
const STEPS: u16 = 64;

/// The colour of a tone from 0 to 1.
pub(crate) fn colour(tone: f64) -> Color {
    let parts = Oklab::convert::<Srgb>(lab(tone));
    OpaqueColor::<Srgb>::new(parts.map(|part| part.clamp(0.0, 1.0))).with_alpha(1.0)
}

/// The ramp's steps as the device reads them: red in the lowest byte.
pub(crate) fn words() -> Vec<u32> {
    let bytes = |step| {
        let colour = colour(f64::from(step) / f64::from(STEPS - 1)).to_rgba8();
        u32::from_le_bytes([colour.r, colour.g, colour.b, colour.a])
    };
    (0..STEPS).map(bytes).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a tone from 0 to 1 times five")]
fn lab(tone: f64) -> [f32; 3] {
    let at = tone.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let stop = (at as usize).min(STOPS.len() - 2);
    let part = (at - stop as f64) as f32;
    let [from, to] = [STOPS[stop], STOPS[stop + 1]];
    std::array::from_fn(|axis| from[axis] + part * (to[axis] - from[axis]))
}

/// Where a weight lies on the scale, as `tint.wgsl` has it: logarithmic, from an even share of `keys` keys to 1.
pub(crate) fn tone(weight: f64, keys: usize) -> f64 {
    let keys = keys as f64;
    ((weight * keys).max(1.0).ln() / keys.ln()).clamp(0.0, 1.0)
}

/// Whether a pixel of the picture has the colour of this weight, give or take a step of the ramp.
pub(crate) fn is_colour_of(pixel: [u8; 3], weight: f64, keys: usize) -> bool {
    let (tone, step) = (tone(weight, keys), 1.0 / f64::from(STEPS - 1));
    let [below, above] = [tone - step, tone + step].map(|tone| {
        let colour = colour(tone).to_rgba8();
        [colour.r, colour.g, colour.b]
    });
    // A channel may turn within the step, so that its ends do not bound it to the last unit.
    let near = |(part, (a, b)): (u8, (u8, u8))| {
        (a.min(b).saturating_sub(3)..=a.max(b).saturating_add(3)).contains(&part)
    };
    pixel.into_iter().zip(below.into_iter().zip(above)).all(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Vec<[f32; 3]> {
        (0..STEPS).map(|step| lab(f64::from(step) / f64::from(STEPS - 1))).collect()
    }

    #[test]
    fn the_ramp_is_even() {
        let length =
            |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        let lengths: Vec<f32> = steps().windows(2).map(|pair| length(pair[0], pair[1])).collect();
        let mean = lengths.iter().sum::<f32>() / lengths.len() as f32;
        assert!(lengths.iter().all(|length| (length / mean - 1.0).abs() < 0.1), "{lengths:?}");
    }

    #[test]
    fn darker_is_always_more() {
        assert!(steps().windows(2).all(|pair| pair[1][0] < pair[0][0]));
    }

    #[test]
    fn every_step_can_be_shown() {
        for lab in steps() {
            let rgb = Oklab::convert::<Srgb>(lab);
            assert!(rgb.iter().all(|part| (-0.002..=1.002).contains(part)), "{lab:?} is {rgb:?}");
        }
    }

    #[test]
    fn red_is_the_lowest_byte() {
        let [r, _, _, a] = words()[0].to_le_bytes();
        assert_eq!((r, a), (colour(0.0).to_rgba8().r, 255));
        assert_eq!(words().len(), usize::from(STEPS));
    }

    #[test]
    fn colours_are_told_apart() {
        for percent in 1..=100 {
            let weight = f64::from(percent) / 100.0;
            let seen = colour(tone(weight, 240)).to_rgba8();
            let seen = [seen.r, seen.g, seen.b];
            assert!(is_colour_of(seen, weight, 240), "{weight}");
            assert!(!is_colour_of(seen, weight * 1.5, 240) || weight > 0.6, "{weight}");
        }
    }

    #[test]
    fn tones_span_the_scale() {
        assert!(tone(1.0 / 240.0, 240).abs() < 1e-12 && tone(0.0, 240).abs() < 1e-12);
        assert!((tone(1.0, 240) - 1.0).abs() < 1e-12);
        assert!((tone(0.1, 100) - 0.5).abs() < 1e-12);
    }
}
