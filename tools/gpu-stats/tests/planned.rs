//! Every planned kernel against the checked-in figures: no spills, no fall by more than 5 %, and the bars that the tiled
//! kernel has to clear on every generation.

use std::path::Path;
use std::sync::OnceLock;

use gpu_stats::planned::{Figure, Figures, TOLERANCE, compare, measure};
use gpu_stats::{Error, Family};

/// Least figures of the tiled kernel in f32 with widths 64 and 128: multiply-add shares of the score loop and of the value
/// loop, waves per SIMD, and the whole kernel's share of the peak by the issue model.
const BARS: [(&str, f64); 4] =
    [("score loop", 0.85), ("value loop", 0.80), ("waves per SIMD", 4.0), ("whole kernel", 0.75)];

/// The problems that have to clear them.
const BARRED: [&str; 2] = ["attention 1x8x4096x64", "attention 1x8x4096x128"];

/// A bar that is missed, as family, problem, bar and why. The value that is reached is in the figures, and may not fall
/// either.
type Missed = (Family, &'static str, &'static str, &'static str);

const MISSED: &[Missed] = &[];

#[expect(clippy::expect_used, reason = "only tests call this: a panic is the report")]
fn checked_in() -> Figures {
    serde_json::from_str(include_str!("../figures.json")).expect("figures.json is what this tool writes")
}

fn reached(figure: &Figure) -> [f64; 4] {
    let share = |index: usize| figure.hot.get(index).map_or(0.0, |h| h.share);
    // The value loop is the last: a compiler may split the first.
    let value = figure.hot.last().map_or(0.0, |h| h.share);
    [share(0), value, figure.waves, figure.whole.unwrap_or(0.0)]
}

/// Figures of the planner's kernels now; `None` without RADV.
#[expect(clippy::panic, reason = "only tests call this: a panic is the report")]
fn figures() -> Option<&'static Figures> {
    static FIGURES: OnceLock<Result<Figures, Error>> = OnceLock::new();
    let measured = || measure(Path::new(env!("CARGO_BIN_EXE_gpu-stats")), &Family::USUAL);
    match FIGURES.get_or_init(|| measured().map(|survey| survey.figures)) {
        Ok(figures) => Some(figures),
        Err(Error::NoDriver { message }) => {
            eprintln!("SKIPPED: {message}");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// Whether the figure is one of the tiled kernel itself, not of a pass before it.
fn is_tiled(figure: &Figure) -> bool {
    figure.variant == "tiled" || figure.variant == "tiled/tiled"
}

/// Masks, scores and lists cost what they cost between the score and the value loop, and nothing within.
#[test]
fn masks_and_scores_leave_the_loops_of_tiled_as_they_are() {
    let Some(now) = figures() else { return };
    let tiled: Vec<&Figure> = now.all.iter().filter(|figure| is_tiled(figure)).collect();
    let mut compared = 0;
    for figure in &tiled {
        let plain = tiled.iter().find(|plain| {
            let shape = figure.problem.strip_prefix(&plain.problem);
            plain.family == figure.family && shape.is_some_and(|options| options.starts_with(" {"))
        });
        let Some(plain) = plain else { continue };
        let fmas = |figure: &Figure| figure.hot.iter().map(|part| part.fmas).sum::<u32>();
        let of_all = |figure: &Figure| {
            let instructions: f64 = figure.hot.iter().map(|part| f64::from(part.fmas) / part.share).sum();
            f64::from(fmas(figure)) / instructions
        };
        assert_eq!(fmas(plain), fmas(figure), "{}", figure.name());
        let (before, after) = (of_all(plain), of_all(figure));
        assert!(after >= before * 0.99, "{}: {after:.4}, {before:.4} without options", figure.name());
        for (index, (part, before)) in figure.hot.iter().zip(&plain.hot).enumerate() {
            let (now, then) = (part.share, before.share);
            assert!(now >= then * 0.99, "{}: part {index} has {now}, not {then}", figure.name());
        }
        compared += 1;
    }
    assert!(compared >= 30, "only {compared} kernels have one without options to be compared with");
}

#[test]
fn planned_kernels_are_as_good_as_they_were() {
    let Some(now) = figures() else { return };
    let mut wrong = Vec::new();
    // Nor do the passes before it spill.
    let tiled: Vec<&Figure> = now.all.iter().filter(|f| f.variant.starts_with("tiled")).collect();
    assert!(!tiled.is_empty());
    for figure in &tiled {
        if figure.spills > 0 || figure.scratch_bytes > 0 {
            wrong.push(format!("{} spills {}, {} B", figure.name(), figure.spills, figure.scratch_bytes));
        }
    }

    let before = checked_in();
    if before.driver == now.driver {
        for gone in compare(&before, now) {
            wrong.push(format!("{} {}", gone.name, gone.what));
        }
        for figure in &now.all {
            if before.find(figure).is_none() {
                wrong.push(format!("{} has no checked-in figure", figure.name()));
            }
        }
        for figure in tiled.iter().filter(|f| BARRED.contains(&f.problem.as_str())) {
            for ((bar, min), value) in BARS.into_iter().zip(reached(figure)) {
                let missed =
                    MISSED.iter().find(|m| (m.0, m.1, m.2) == (figure.family, figure.problem.as_str(), bar));
                let name = figure.name();
                match missed {
                    None if value < min => wrong.push(format!("{name}: {bar} {value}, has to be {min}")),
                    Some(m) if value < min => {
                        eprintln!("MISSED: {name}: {bar} {value}, not {min}: {}", m.3);
                    }
                    Some(_) => {
                        wrong.push(format!("{name}: {bar} {value} clears its bar: remove it from MISSED"));
                    }
                    None => {}
                }
            }
        }
    } else {
        eprintln!("SKIPPED all but spills: the figures are of {}, this is {}", before.driver, now.driver);
    }
    assert!(
        wrong.is_empty(),
        "{}\nIf this is meant: cargo run -p gpu-stats -- --planned --write-figures",
        wrong.join("\n")
    );
}

#[test]
fn decode_does_not_spill() {
    let Some(now) = figures() else { return };
    let decode: Vec<&Figure> = now.all.iter().filter(|figure| figure.variant.starts_with("decode")).collect();
    assert!(decode.len() >= 40, "only {} kernels", decode.len());
    for figure in decode {
        assert!(
            figure.spills == 0 && figure.scratch_bytes == 0,
            "{} spills {}",
            figure.name(),
            figure.spills
        );
    }
}

/// Least figures of the chunked kernels: multiply-add share of the loops that multiply matrices, and waves per SIMD.
const CHUNK_BARS: (f64, f64) = (0.70, 4.0);

/// Multiply-adds from which a part is such a loop.
const MATRIX_FMAS: u32 = 128;

/// Chunked kernels that have fewer waves: where, how many at least, and why.
const FEWER_WAVES: &[(&str, &[Family], f64, &str)] = &[
    (
        "chunk_delta",
        &[Family::Vega10],
        3.0,
        "a state of 128 channels takes 32 registers, next to operands and what is left of values",
    ),
    (
        "chunk_scores",
        &[Family::Vega10],
        3.0,
        "scores of two kinds, below and on the diagonal, take 32 registers",
    ),
    (
        "chunk_output",
        &[Family::Vega10],
        3.0,
        "denominators take the registers that the fourth wave would need",
    ),
];

#[test]
fn chunked_kernels_clear_their_bars() {
    let Some(now) = figures() else { return };
    let mut wrong = Vec::new();
    let chunked =
        now.all.iter().filter(|f| ["chunked/", "segmented/"].iter().any(|name| f.variant.starts_with(name)));
    let mut matrix_loops = 0;
    for figure in chunked {
        let name = figure.name();
        if figure.spills > 0 || figure.scratch_bytes > 0 {
            wrong.push(format!("{name} spills {}, {} B", figure.spills, figure.scratch_bytes));
        }
        for part in figure.hot.iter().filter(|part| part.fmas >= MATRIX_FMAS) {
            matrix_loops += 1;
            // Sums of keys are additions next to the products.
            let min = if figure.problem.contains("normaliser") { 0.65 } else { CHUNK_BARS.0 };
            if part.share < min {
                wrong.push(format!("{name}: a loop has {} multiply-adds, has to have {min}", part.share));
            }
        }
        let known = FEWER_WAVES.iter().find(|(kernel, families, ..)| {
            figure.variant.contains(kernel) && families.contains(&figure.family)
        });
        let min = known.map_or(CHUNK_BARS.1, |&(_, _, min, _)| min);
        if figure.waves < min {
            wrong.push(format!("{name}: {} waves, has to have {min}", figure.waves));
        } else if let Some((.., why)) = known.filter(|_| figure.waves < CHUNK_BARS.1) {
            eprintln!("MISSED: {name}: {} waves: {why}", figure.waves);
        }
    }
    assert!(matrix_loops > 50, "only {matrix_loops} loops were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_fall_is_noticed_and_noise_is_not() {
    let before = checked_in();
    assert!(compare(&before, &before).is_empty());
    let changed = |change: &dyn Fn(&mut Figure)| {
        let mut now = before.clone();
        change(&mut now.all[0]);
        compare(&before, &now).into_iter().map(|gone| gone.what).collect::<Vec<_>>()
    };
    let falls: [&dyn Fn(&mut Figure); 6] = [
        &|f| f.waves *= 1.0 - 1.1 * TOLERANCE,
        &|f| f.whole = f.whole.map(|share| share * (1.0 - 1.1 * TOLERANCE)),
        &|f| f.whole = None,
        &|f| f.hot[0].share *= 1.0 - 1.1 * TOLERANCE,
        &|f| f.spills += 1,
        &|f| f.variant = "another".to_owned(),
    ];
    for change in falls {
        assert_eq!(changed(change).len(), 1);
    }
    assert!(changed(&|f| f.waves *= 1.0 - 0.9 * TOLERANCE).is_empty());
    assert!(changed(&|f| f.hot[0].share *= 1.5).is_empty());
    // A family that was not measured is not missing.
    let mut fewer = before.clone();
    fewer.all.retain(|f| f.family != Family::Vega10);
    assert!(compare(&before, &fewer).is_empty());
}
