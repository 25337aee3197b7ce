//! A problem small enough to test the engine with: `y = a * x`, by variants that are right, and by some that are not.

use std::sync::Arc;

use foveal::kernels::attention::{Attention, Shape};
use foveal::kernels::{BoundTo, OptionMap, ParamValue, Pass, PassBinding, Scratch};
use foveal::shaders::{Library, Request};
use foveal::{
    Access, AdapterProfile, Constraints, Described, Dtype, Engine, ErrorKind, HostTensor, Options, Plan,
    Problem, TensorSpec, Work,
    testing::{Expected, Reference, Rows, Tolerance},
};

const SCALE: &str = "
const THREADS: u32 = 64u;
struct Params { count: u32, factor: f32, shift: i32, row: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * params.row;
    if i < params.count {
        y[i] = BODY;
    }
    TAIL
}";

/// Modules by name of variant. All but `good` and `two_pass` are wrong in the way that they are named after.
fn library() -> Library {
    let text = |body: &str, tail: &str| SCALE.replace("BODY", body).replace("TAIL", tail);
    let right = "params.factor * x[i] + f32(params.shift)";
    let good = text(right, "");
    let wrong = text("params.factor * x[i] + 0.01", "if params.shift > 1000000i { y[0] = 1.0; }");
    let unwritten = text(right, "").replace("i < params.count", "i + 1u < params.count");
    let overrun = text(right, "if i == 0u { y[params.count + 3u] = 1.0; }");
    let invalid = text("params.factor * x[i] * true + f32(params.shift)", "");
    let extra = text(right, "")
        .replace("y[i] =", "y[i] = z[0] +")
        .replace("struct Params", "@group(0) @binding(7) var<storage, read> z: array<f32>;\nstruct Params");
    Library::empty()
        .with_modules(&[
            ("good", &good),
            ("wrong", &wrong),
            ("unwritten", &unwritten),
            ("overrun", &overrun),
            ("invalid", &invalid),
            ("unbound", &extra),
        ])
        .unwrap()
}

/// `y = a * x` over `count` elements.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) count: usize,
    pub(crate) factor: f32,
    /// Variants in the order of the planner's preference.
    pub(crate) variants: Vec<&'static str>,
    /// Part of the request, so that problems can have shaders of their own.
    pub(crate) threads: u32,
}

impl Scale {
    pub(crate) fn new(count: usize, variants: &[&'static str]) -> Self {
        Self { count, factor: 3.0, variants: variants.to_vec(), threads: 64 }
    }

    pub(crate) fn input(&self) -> HostTensor {
        let values: Vec<f32> = (0..self.count).map(|i| i as f32 * 0.5 - 7.0).collect();
        HostTensor::from_f32(vec![self.count], &values, Dtype::F32).unwrap()
    }

    pub(crate) fn output(&self) -> HostTensor {
        let values: Vec<f32> = self.input().to_f64().iter().map(|&x| self.factor * x as f32).collect();
        HostTensor::from_f32(vec![self.count], &values, Dtype::F32).unwrap()
    }

    fn pass(&self, variant: &str, x: BoundTo, y: BoundTo, factor: f32) -> Pass {
        let module = if variant == "two_pass" { "good" } else { variant };
        let size_bytes = 4 * self.count as u64;
        let binding = |name: &'static str, source| PassBinding {
            name: name.into(),
            source,
            offset_bytes: 0,
            size_bytes,
        };
        let groups = self.count.div_ceil(self.threads as usize) as u32;
        let columns = groups.min(1024);
        Pass {
            label: format!("test.scale.{variant}"),
            request: Arc::new(Request::new(module).tunable("THREADS", self.threads)),
            bindings: vec![binding("y", y), binding("x", x)],
            params: vec![
                ("factor".into(), ParamValue::F32(factor)),
                ("count".into(), ParamValue::U32(self.count as u32)),
                ("shift".into(), ParamValue::I32(0)),
                ("row".into(), ParamValue::U32(columns * self.threads)),
            ],
            indirect: None,
            loop_turns: 0,
            zigzag: false,
            workgroups: [columns, groups.div_ceil(columns.max(1)), 1],
        }
    }
}

impl Described for Scale {
    fn describe(&self) -> String {
        format!("{} elements", self.count)
    }

    fn options(&self) -> OptionMap {
        OptionMap::new()
    }

    fn shape(&self) -> String {
        self.count.to_string()
    }
}

impl Reference for Scale {
    fn random_inputs(&self, _: u64) -> Vec<(foveal::kernels::Name, HostTensor)> {
        vec![("x".into(), self.input())]
    }

    fn reference(&self, _: &[(&str, &HostTensor)], _: Rows) -> Result<Vec<Expected>, foveal::kernels::Error> {
        let values = self.output().to_f64();
        Ok(vec![Expected {
            name: "y".into(),
            shape: vec![self.count],
            elements: None,
            values,
            allowance: None,
            head_axis: None,
        }])
    }

    fn tolerance(&self, _: &str) -> Tolerance {
        Tolerance { rel_rmse: 1e-6, worst: 1e-5, floor: 1e-6 }
    }
}

impl Problem for Scale {
    fn operator(&self) -> &'static str {
        "scale"
    }
    fn tensors(&self) -> Vec<TensorSpec> {
        let tensor_spec = |name: &'static str, role| TensorSpec {
            name: name.into(),
            access: role,
            dtype: Dtype::F32,
            shape: vec![self.count],
            span: self.count,
            head_axis: None,
        };
        vec![tensor_spec("x", Access::Read), tensor_spec("y", Access::Write)]
    }

    fn plan(&self, _: &AdapterProfile, constraints: &Constraints) -> Result<Plan, foveal::kernels::Error> {
        let wanted = constraints.variant.as_deref();
        let left = self.variants.iter().filter(|v| !constraints.refused.contains(**v));
        let variant = *left.clone().find(|v| wanted.is_none_or(|w| w == **v)).ok_or_else(|| {
            foveal::kernels::Error::limit("variants", format!("none is left of {:?}", self.variants))
        })?;
        let (x, y, between) = (BoundTo::Tensor(0), BoundTo::Tensor(1), BoundTo::Scratch(0));
        let passes = match variant {
            _ if self.count == 0 => Vec::new(),
            "two_pass" => {
                vec![self.pass(variant, x, between, self.factor * 2.0), self.pass(variant, between, y, 0.5)]
            }
            _ => vec![self.pass(variant, x, y, self.factor)],
        };
        let scratch = Scratch { name: "between", bytes: 4 * self.count as u64, contents: None };
        // A plan cannot be made from nothing outside of its crate, but any plan can be made into another.
        let mut plan = Attention::new(Shape::bhtd(1, 1, 1, 4))
            .plan(&AdapterProfile::webgpu_floor(), &Constraints::default())?;
        plan.problem = Arc::new(self.clone());
        plan.operator = "scale";
        plan.variant = variant.to_owned();
        plan.tensors = self.tensors();
        plan.scratch = if variant == "two_pass" { vec![scratch] } else { Vec::new() };
        plan.passes = passes;
        Ok(plan)
    }

    fn self_check_problem(&self) -> Arc<dyn Problem> {
        Arc::new(Self { count: 100, ..self.clone() })
    }
    fn work(&self) -> Work {
        Work { flops: self.count as f64, dense_flops: self.count as f64, bytes: 8.0 * self.count as f64 }
    }
}

/// Options without a trace on disk, with the variants above.
pub(crate) fn options() -> Options {
    Options { library: Arc::new(library()), cache_dir: None, ..Options::default() }
}

/// An engine, or `None` where there is no adapter: the test is skipped, and fails if a GPU is required.
pub(crate) fn engine_with(options: Options) -> Option<Engine> {
    match pollster::block_on(Engine::new(options)) {
        Ok(engine) => Some(engine),
        Err(error) if error.kind() == ErrorKind::NoAdapter => {
            assert!(
                std::env::var("FOVEAL_REQUIRE_GPU").as_deref() != Ok("1"),
                "an adapter is required: {error}"
            );
            println!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn engine() -> Option<Engine> {
    engine_with(options())
}
