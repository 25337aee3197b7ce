//! Kernels that the planner would run on GPUs that are not here: every variant with the tunables it plans, compiled and judged.

mod figures;
mod turns;

use std::collections::BTreeMap;
use std::path::Path;

use foveal_kernels::{
    AdapterKind, AdapterProfile, Constraints, Features, Limits, Operator, Plan, Rates, operators,
};
use foveal_shaders::{Library, Request};

pub use figures::{Figure, Figures, Gone, HotPart, TOLERANCE, compare, table};
pub use turns::{Section, Work, turns, work};

use crate::{Compiler, Error, Family, Job, Report};

/// A problem whose plans are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The operator's name.
    pub operator: &'static str,
    /// As `Operator::problem_of_shape` reads it.
    pub shape: &'static str,
    /// Options as JSON.
    pub options: &'static str,
    /// Variants that are not compiled, everywhere or for one family: they need several times the registers that the GPU
    /// has, and the compiler takes minutes to spill them, if it ends.
    pub without: &'static [(&'static str, Option<Family>)],
}

/// One thread a row, whose output is wider than the registers.
const WIDEST: &[(&str, Option<Family>)] = &[("naive", Some(Family::Vega10)), ("naive", Some(Family::Navi21))];

/// Other variants have few rows as they have many.
const DECODE_ONLY: &[(&str, Option<Family>)] = &[("tiled", None), ("naive", None)];

const fn attention(
    shape: &'static str,
    options: &'static str,
    without: &'static [(&'static str, Option<Family>)],
) -> Sample {
    Sample { operator: "attention", shape, options, without }
}

const fn linear(shape: &'static str, options: &'static str) -> Sample {
    Sample { operator: "linear", shape, options, without: &[] }
}

/// The problems: the widths that models have, a width that no tile divides, and what else changes the code. An operator
/// without a line here is measured at the shapes it benchmarks.
pub const SAMPLES: &[Sample] = &[
    attention("1x8x4096x64", "{}", &[]),
    attention("1x8x4096x128", "{}", &[]),
    attention("1x8x4096x80", "{}", &[]),
    attention("1x8x4096x256", "{}", WIDEST),
    attention("1x8x4096x64", r#"{"dtype":"f16"}"#, &[]),
    attention("1x8x4096x64", r#"{"mask":"causal"}"#, &[]),
    attention("1x8x4096x64", r#"{"lse":true}"#, &[]),
    // Lists from the plan with a mask, in patches of a raster, of blocks, with bits of elements; from the device; none.
    attention("1x8x4096x64", r#"{"mask":"causal & window(255, 0)"}"#, &[]),
    attention("1x8x4096x128", r#"{"mask":"causal & window(255, 0)"}"#, &[]),
    attention("1x8x4096x64", r#"{"mask":"disc(64, 8)"}"#, &[]),
    attention("1x8x4096x64", r#"{"block_mask":{"q_block":64,"kv_block":64,"random":0.3,"seed":1}}"#, &[]),
    attention("1x8x4096x64", r#"{"block_mask":{"q_block":16,"kv_block":16,"random":0.3,"seed":1}}"#, &[]),
    attention("1x8x4096x64", r#"{"mask":"causal & same(doc)","tables":{"doc":"i32[4096]"}}"#, &[]),
    attention("1x32:8x1:4096x64", r#"{"mask":"k < len[b]","tables":{"len":"i32[1]"}}"#, &[]),
    // Scores; and what is computed for a row.
    attention("1x8x4096x64", r#"{"mask":"causal","score":"softcap(20.0)"}"#, &[]),
    attention("1x8x4096x64", r#"{"mask":"causal","score":"alibi"}"#, &[]),
    attention("1x8x4096x64", r#"{"score":"s + bias[h, q, k]","tables":{"bias":"f16[8,4096,4096]"}}"#, &[]),
    attention("1x8x4096x64", r#"{"qk_norm":"l2","scale":"scales","sink_logits":"sinks"}"#, &[]),
    // Few rows: one, four, eight and sixteen of a key/value head, a chunk of queries, latent keys that lanes of two subgroups share.
    attention("1x32x1:4096x128", "{}", DECODE_ONLY),
    attention("1x32:8x1:4096x128", "{}", DECODE_ONLY),
    attention("1x32:8x1:4096x128", r#"{"dtype":"f16"}"#, DECODE_ONLY),
    attention("1x32:4x1:4096x128", "{}", DECODE_ONLY),
    attention("1x32:2x1:4096x128", "{}", DECODE_ONLY),
    attention("1x32:8x4:4096x64", r#"{"mask":"causal"}"#, DECODE_ONLY),
    attention("1x16:1x1:4096x576:512", "{}", DECODE_ONLY),
    linear("1x8x4096x64", "{}"),
    linear("1x8x4096x64", r#"{"gate":"scalar"}"#),
    linear("1x8x4096x64", r#"{"gate":"vector"}"#),
    linear("1x8x4096x64", r#"{"rule":"delta","gate":"scalar"}"#),
    linear("1x8x4096x64", r#"{"rule":"delta","gate":"vector"}"#),
    linear("4x16x2048x128", r#"{"gate":"scalar"}"#),
    linear("4x16x2048x128", r#"{"rule":"delta","gate":"scalar"}"#),
    linear("4x16x2048x128", r#"{"rule":"delta","gate":"vector"}"#),
    linear("1x8x4096x64", r#"{"normaliser":"sum","feature_map":"elu1"}"#),
];

/// The adapter that the engine would see if it opened a GPU of this family through wgpu on RADV.
///
/// Rates are assumed ones: plans of a named variant do not depend on them.
pub fn profile(family: Family) -> AdapterProfile {
    AdapterProfile {
        name: format!("RADV {family}"),
        driver: "radv".to_owned(),
        backend: "vulkan".to_owned(),
        kind: AdapterKind::Discrete,
        limits: Limits {
            // Descriptors are memory on this driver: what counts is that no plan needs as many.
            max_storage_buffers_per_shader_stage: 1024,
            // wgpu's cap for Mesa on Linux. Sizes and alignments cut a problem into dispatches; they change no shader.
            max_storage_buffer_binding_size: (2 << 30) - 1,
            max_buffer_size: (2 << 30) - 1,
            min_storage_buffer_offset_alignment: 32,
            min_uniform_buffer_offset_alignment: 32,
            max_uniform_buffer_binding_size: 64 << 10,
            max_compute_workgroup_storage_size: 64 << 10,
            max_compute_invocations_per_workgroup: 1024,
            max_compute_workgroup_size_x: 1024,
            max_compute_workgroups_per_dimension: 65_535,
        },
        features: Features {
            // GCN has waves of 64 lanes only.
            subgroups: Some(if family == Family::Vega10 { (64, 64) } else { (32, 64) }),
            f16: true,
            timestamps: true,
            pipeline_cache: true,
        },
        rates: Rates::assumed(AdapterKind::Discrete),
        loop_turns: None,
        maths: None,
        matrix: None,
    }
}

/// One shader to compile, and for what.
pub(crate) struct Planned {
    pub(crate) problem: String,
    pub(crate) variant: String,
    pub(crate) request: Request,
    pub(crate) text: String,
}

/// Measurements of all families.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// One for each family, problem, variant and shader, in the order of the tables.
    pub figures: Figures,
    /// The reports behind the figures, in the same order.
    pub reports: Vec<Report>,
    /// Variants without figures, and why.
    pub missing: Vec<String>,
}

/// Plans, specialises, compiles and judges every variant of every operator's samples for these families, the families in
/// parallel.
///
/// # Errors
/// [`Error::NoDriver`] without RADV; [`Error::Shader`] for a sample that is no problem, a request that does not
/// specialise or a text that does not compile; [`Error::Worker`] where a worker died.
pub fn measure(program: &Path, families: &[Family]) -> Result<Survey, Error> {
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> =
            families.iter().map(|&family| scope.spawn(move || measure_family(program, family))).collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().map_err(|_| Error::Worker { message: "a thread panicked".to_owned() })?
        });
        joined.collect::<Result<Vec<Survey>, Error>>()
    })?;
    let mut all = Survey::default();
    for part in parts {
        all.figures.driver = part.figures.driver;
        all.figures.all.extend(part.figures.all);
        all.reports.extend(part.reports);
        all.missing.extend(part.missing);
    }
    Ok(all)
}

fn measure_family(program: &Path, family: Family) -> Result<Survey, Error> {
    let mut compiler = Compiler::start(program, family)?;
    let mut survey = Survey::default();
    let mut known: BTreeMap<String, Report> = BTreeMap::new();
    for planned in plan_all(
        &profile(family),
        family.name(),
        &|only| only.is_none_or(|only| only == family),
        &mut survey.missing,
    )? {
        let label = format!("{family} {} {}", planned.problem, planned.variant);
        let report = match known.get(&planned.text) {
            Some(report) => Report { label, ..report.clone() },
            None => match compiler.compile(&Job::new(label, planned.text.clone())) {
                Err(error @ Error::TooLong { .. }) => {
                    survey.missing.push(error.to_string());
                    compiler = Compiler::start(program, family)?;
                    continue;
                }
                result => result?,
            },
        };
        known.entry(planned.text).or_insert_with(|| report.clone());
        survey.figures.driver.clone_from(&report.driver);
        survey.figures.all.push(Figure::new(planned.problem, planned.variant, &planned.request, &report));
        survey.reports.push(report);
    }
    Ok(survey)
}

/// The kernels that are planned for an adapter, called `name` in messages. Variants that samples leave out for a family are left
/// out if `of_family` says so.
pub(crate) fn plan_all(
    adapter: &AdapterProfile,
    name: &str,
    of_family: &dyn Fn(Option<Family>) -> bool,
    missing: &mut Vec<String>,
) -> Result<Vec<Planned>, Error> {
    let mut all = Vec::new();
    for &operator in operators() {
        for (shape, options, without) in samples(operator) {
            let label = if options == "{}" {
                format!("{} {shape}", operator.name())
            } else {
                format!("{} {shape} {options}", operator.name())
            };
            let fail = |message: String| Error::Shader { label: label.clone(), message };
            let Ok(options) = serde_json::from_str(options) else {
                return Err(fail("the options of this sample are no JSON object".to_owned()));
            };
            let problem = operator.problem_of_shape(shape, &options).map_err(|e| fail(e.to_string()))?;
            for variant in operator.variants() {
                let left_out = |&(variant_name, only): &(&str, Option<Family>)| {
                    variant_name == variant.name && of_family(only)
                };
                if without.iter().any(left_out) {
                    let why = if without == DECODE_ONLY {
                        "is measured with more rows"
                    } else {
                        "needs so many registers that the compiler takes minutes"
                    };
                    missing.push(format!("{name} {label} {}: {why}", variant.name));
                    continue;
                }
                match problem.plan(adapter, &Constraints::variant(variant.name)) {
                    Ok(plan) => all.extend(specialise(&label, &plan).map_err(fail)?),
                    Err(reason) => {
                        missing.push(format!("{name} {label} {}: {reason}", variant.name));
                    }
                }
            }
        }
    }
    Ok(all)
}

type Listed = (&'static str, &'static str, &'static [(&'static str, Option<Family>)]);

fn samples(operator: &dyn Operator) -> Vec<Listed> {
    let listed = SAMPLES.iter().filter(|s| s.operator == operator.name());
    let mut samples: Vec<Listed> = listed.map(|s| (s.shape, s.options, s.without)).collect();
    if samples.is_empty() {
        samples.extend(operator.bench_shapes().iter().map(|&shape| (shape, "{}", &[][..])));
    }
    samples
}

fn specialise(problem: &str, plan: &Plan) -> Result<Vec<Planned>, String> {
    let requests = plan.requests();
    let several = requests.len() > 1;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let made = requests.into_iter().map(|request| {
        let measured = without_rare(request);
        let specialised = Library::builtin().specialise(&measured).map_err(|e| e.to_string())?;
        let module = request.module.rsplit('/').next().unwrap_or_default();
        let times = seen.entry(module).or_default();
        *times += 1;
        // The same module for another purpose.
        let module = if *times > 1 { format!("{module} {times}") } else { module.to_owned() };
        Ok(Planned {
            problem: problem.to_owned(),
            // A plan of several shaders has a line for each.
            variant: if several { format!("{}/{module}", plan.variant) } else { plan.variant.clone() },
            request: measured,
            text: specialised.text,
        })
    });
    made.collect()
}

/// The kernel without what only values that are not finite take: a loop of its own, which would be counted as a hot one.
fn without_rare(request: &Request) -> Request {
    let hides = |(name, _): &(String, foveal_shaders::Value)| name == "HIDES";
    if !request.tunables.iter().any(hides) {
        return request.clone();
    }
    request.clone().without(&["HIDES"]).tunable("HIDES", false)
}
