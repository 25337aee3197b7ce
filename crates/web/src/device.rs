//! A device with its kernels.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foveal::{
    AdapterChoice, Constraints, DeviceTensor, Engine, ErrorKind, Input, Kernel, Options, SelfCheck,
};
use foveal_kernels::{HostTensor, Plan, Problem, operator, operators};
use js_sys::{Array, Promise};
use serde_json::{Value, json};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use wasm_bindgen_futures::future_to_promise;

use crate::describe::{check_memory, check_read, describes};
use crate::failure::Failure;
use crate::kernels::{Kernels, key};
use crate::tensors::{TensorArgument, given, held_to_page, options, to_page, zeros};
use crate::variant_check::Trial;

/// The seed of timed inputs. The values do not change the time.
const INPUTS_SEED: u64 = 7;
/// How many samples a time is made of.
const SAMPLES: RangeInclusive<usize> = 5..=60;

/// A device, its kernels, and the tensors that the page holds on it.
///
/// Methods return promises, and borrow nothing while those are pending: the page may free the device at any time.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct Device {
    pub(crate) inner: Rc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) engine: Engine,
    kernels: Kernels,
    held: RefCell<HashMap<u32, Held>>,
    next: Cell<u32>,
}

/// A tensor that the page holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) tensor: DeviceTensor,
    /// Its elements, if problems are described by them.
    pub(crate) host: Option<Rc<HostTensor>>,
}

/// A tensor of a call, ready to be bound.
enum Ready {
    Host(HostTensor),
    Held(Held),
}

#[wasm_bindgen]
impl Device {
    /// Opens a device. `subgroups` says that it will have them, although wgpu does not ask for them.
    pub fn open(low_power: bool, self_check: bool, subgroups: bool) -> Promise {
        promise(async move {
            let options = Options {
                adapter: if low_power { AdapterChoice::LowPower } else { AdapterChoice::Auto },
                self_check: if self_check { SelfCheck::On } else { SelfCheck::Off },
                subgroups,
                ..Options::default()
            };
            let engine = Engine::new(options).await?;
            let inner =
                Inner { engine, kernels: Kernels::default(), held: RefCell::default(), next: Cell::new(1) };
            Ok(Self { inner: Rc::new(inner) }.into())
        })
    }

    /// The device, as JSON.
    #[must_use]
    pub fn info(&self) -> String {
        let profile = self.inner.engine.profile();
        let features: Vec<&str> = [
            (profile.features.subgroups.is_some(), "subgroups"),
            (profile.features.f16, "shader-f16"),
            (profile.features.timestamps, "timestamp-query"),
        ]
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
        .collect();
        json!({
            "name": profile.name, "backend": profile.backend, "kind": profile.kind,
            "features": features, "limits": profile.limits,
        })
        .to_string()
    }

    /// The variants of each operator that were refused on this device, as JSON.
    #[must_use]
    pub fn refused(&self) -> String {
        let refused = operators().iter().map(|operator| {
            let variants = self.inner.engine.refused(operator.name());
            (operator.name().to_owned(), Value::from_iter(variants))
        });
        Value::from_iter(refused).to_string()
    }

    /// Settles when the device is lost, with why.
    pub fn lost(&self) -> Promise {
        let engine = self.inner.engine.clone();
        promise(async move { Ok(Failure::from(engine.lost().await).into()) })
    }

    /// Destroys the device and forgets what is held on it.
    pub fn destroy(&self) {
        self.inner.held.borrow_mut().clear();
        self.inner.kernels.clear();
        self.inner.engine.trim();
        self.inner.engine.device().destroy();
    }

    /// Copies tensors to the device and holds them.
    pub fn hold(&self, tensors: &Array) -> Promise {
        let inner = Rc::clone(&self.inner);
        let tensors = given(tensors);
        promise(async move {
            let held = Array::new();
            for (name, given) in tensors? {
                let TensorArgument::Host(tensor) = given else {
                    return Err(Failure::usage(name, "expected its elements in `data`"));
                };
                let dtype = tensor.dtype().unwrap_or_default();
                let placed = inner.engine.upload_tensor(&tensor, dtype).await?;
                let host = describes(&tensor).then(|| Rc::new(tensor));
                held.push(&inner.hold(&name, placed, host));
            }
            Ok(held.into())
        })
    }

    /// Copies a held tensor to the page's memory.
    pub fn read(&self, number: u32) -> Promise {
        let inner = Rc::clone(&self.inner);
        promise(async move {
            let held = inner.held(number, "tensor")?;
            Ok(to_page("", &inner.engine.download_tensor(&held.tensor).await?))
        })
    }

    /// Forgets a held tensor.
    pub fn release(&self, number: u32) {
        self.inner.held.borrow_mut().remove(&number);
    }

    /// Runs a problem; its outputs stay on the device if `resident`.
    pub fn run(
        &self,
        operator_name: String,
        options_text: String,
        tensors: &Array,
        variant: Option<String>,
        resident: bool,
    ) -> Promise {
        let inner = Rc::clone(&self.inner);
        // Elements are copied before this returns: the page may write to its arrays while the GPU is at work.
        let tensors = given(tensors);
        promise(async move {
            let call = Call { operator: operator_name, options: options_text, variant };
            inner.run(&call, tensors?, resident).await
        })
    }

    /// Tries a variant on a case; the answer is JSON.
    pub fn try_variant(&self, trial: &Trial, variant: String) -> Promise {
        let inner = Rc::clone(&self.inner);
        let trial = Arc::clone(&trial.inner);
        promise(async move {
            let inputs: Vec<(&str, &HostTensor)> =
                trial.inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
            let problem = &*trial.case.problem;
            let tried = inner.engine.try_variant(problem, &inputs, &trial.expected, &variant).await;
            // A fault of the whole device is no result of the variant.
            match tried.error {
                Some(error) if error.kind() == ErrorKind::DeviceLost => Err(error.into()),
                _ => Ok(crate::variant_check::tried(&tried).into()),
            }
        })
    }

    /// Times a problem by its sizes; the answer is JSON.
    pub fn time(
        &self,
        operator_name: String,
        shape: String,
        options_text: String,
        variant: Option<String>,
        seconds: f64,
    ) -> Promise {
        let inner = Rc::clone(&self.inner);
        promise(async move {
            let problem = operator(&operator_name)?.problem_of_shape(&shape, &options(&options_text)?)?;
            check_memory(&*problem)?;
            let kernel = inner.prepare(&*problem, variant).await?;
            let inputs = problem.random_inputs(INPUTS_SEED);
            let inputs: Vec<(&str, &HostTensor)> =
                inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
            let limit = Duration::try_from_secs_f64(seconds)
                .map_err(|_| Failure::usage("seconds", format!("expected a duration, got {seconds}")))?;
            let timings = inner.engine.time_within(&kernel, &inputs, SAMPLES, limit).await?;
            Ok(crate::explain::timings(kernel.plan(), &timings).into())
        })
    }

    /// Measures the device; the answer is JSON.
    pub fn roofline(&self) -> Promise {
        let inner = Rc::clone(&self.inner);
        promise(async move { Ok(crate::explain::roofline(&inner.engine.measure_roofline().await?).into()) })
    }

    /// How a problem would run, as JSON.
    ///
    /// # Errors
    /// As an object with `kind`, `argument` and `message`.
    pub fn plan(
        &self,
        operator_name: &str,
        options_text: &str,
        tensors: &Array,
        variant: Option<String>,
    ) -> Result<String, JsValue> {
        let plan = || -> Result<String, Failure> {
            let tensors = self.inner.described(given(tensors)?)?;
            let problem = operator(operator_name)?.problem(&options(options_text)?, &tensors)?;
            Ok(crate::explain::plan(&self.inner.plan(&*problem, variant)?))
        };
        Ok(plan()?)
    }

    /// The same for a problem by its sizes.
    ///
    /// # Errors
    /// As an object with `kind`, `argument` and `message`.
    pub fn plan_shape(
        &self,
        operator_name: &str,
        shape: &str,
        options_text: &str,
        variant: Option<String>,
    ) -> Result<String, JsValue> {
        let plan = || -> Result<String, Failure> {
            let problem = operator(operator_name)?.problem_of_shape(shape, &options(options_text)?)?;
            Ok(crate::explain::plan(&self.inner.plan(&*problem, variant)?))
        };
        Ok(plan()?)
    }
}

/// A call without its tensors.
struct Call {
    operator: String,
    options: String,
    variant: Option<String>,
}

impl Inner {
    pub(crate) fn hold(&self, name: &str, tensor: DeviceTensor, host: Option<Rc<HostTensor>>) -> JsValue {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let entry = held_to_page(name, &tensor, number);
        self.held.borrow_mut().insert(number, Held { tensor, host });
        entry
    }

    pub(crate) fn held(&self, number: u32, name: &str) -> Result<Held, Failure> {
        let held = self.held.borrow().get(&number).cloned();
        held.ok_or_else(|| Failure::usage(format!("tensor `{name}`"), "it was freed"))
    }

    async fn run(
        &self,
        call: &Call,
        tensors: Vec<(String, TensorArgument)>,
        resident: bool,
    ) -> Result<JsValue, Failure> {
        let mut ready = Vec::with_capacity(tensors.len());
        for (name, given) in tensors {
            let tensor = match given {
                TensorArgument::Host(tensor) => Ready::Host(tensor),
                TensorArgument::Held(number) => Ready::Held(self.held(number, &name)?),
                TensorArgument::Shape(..) => {
                    return Err(Failure::usage(
                        format!("tensor `{name}`"),
                        "expected its elements in `data`",
                    ));
                }
            };
            ready.push((name, tensor));
        }
        let kernel = self.kernel(call, &ready).await?;
        let tensor_specs = &kernel.plan().tensors;
        let mut inputs: Vec<(&str, Input<'_>)> = Vec::new();
        for tensor_spec in tensor_specs.iter().filter(|tensor_spec| tensor_spec.access.reads()) {
            match ready.iter().find(|(name, _)| *name == tensor_spec.name) {
                Some((name, Ready::Host(tensor))) => inputs.push((name, Input::Host(tensor))),
                Some((name, Ready::Held(held))) => inputs.push((name, Input::Device(&held.tensor))),
                None if tensor_spec.span == 0 => {}
                None => {
                    let message =
                        format!("not given; {:?} {} is expected", tensor_spec.shape, tensor_spec.dtype);
                    return Err(Failure::usage(format!("tensor `{}`", tensor_spec.name), message));
                }
            }
        }
        // Lists that are on the device are looked at through their copies here.
        let copies: Vec<(&str, &HostTensor)> = ready
            .iter()
            .filter_map(|(name, tensor)| match tensor {
                Ready::Held(Held { host: Some(host), .. }) => Some((name.as_str(), &**host)),
                _ => None,
            })
            .filter(|(name, _)| inputs.iter().any(|(input, _)| input == name))
            .collect();
        kernel.plan().problem.check_inputs(&copies)?;
        let outputs = self.engine.compute(&kernel, &inputs).await?;
        let page = Array::new();
        for (name, tensor) in outputs {
            if resident {
                page.push(&self.hold(&name, tensor, None));
            } else {
                page.push(&to_page(&name, &self.engine.download_tensor(&tensor).await?));
            }
        }
        Ok(page.into())
    }

    /// The kernel of a call, planned and compiled if no call was like it.
    async fn kernel(&self, call: &Call, tensors: &[(String, Ready)]) -> Result<Kernel, Failure> {
        let described = tensors.iter().map(|(name, tensor)| match tensor {
            Ready::Host(tensor) => {
                let dtype = tensor.dtype().unwrap_or_default();
                (name.as_str(), tensor.shape(), dtype, Some(tensor).filter(|tensor| describes(tensor)))
            }
            Ready::Held(Held { tensor, host }) => {
                (name.as_str(), tensor.shape(), tensor.dtype(), host.as_deref())
            }
        });
        let key =
            key([&call.operator, &call.options, call.variant.as_deref().unwrap_or_default()], described);
        if let Some(kernel) = self.kernels.get(key) {
            return Ok(kernel);
        }
        let options = options(&call.options)?;
        let mut whole = Vec::with_capacity(tensors.len());
        for (name, tensor) in tensors {
            let tensor = match tensor {
                Ready::Host(tensor) => tensor.clone(),
                Ready::Held(Held { host: Some(host), .. }) => (**host).clone(),
                Ready::Held(Held { tensor, .. }) => zeros(tensor.shape(), tensor.dtype())?,
            };
            whole.push((name.clone(), tensor));
        }
        let problem = operator(&call.operator)?.problem(&options, &whole)?;
        check_read(&problem.tensors(), &options, &whole)?;
        drop(whole);
        let kernel = self.prepare(&*problem, call.variant.clone()).await?;
        self.kernels.insert(key, &kernel);
        Ok(kernel)
    }

    fn plan(&self, problem: &dyn Problem, variant: Option<String>) -> Result<Plan, Failure> {
        let constraints = Constraints { variant, ..Constraints::default() };
        Ok(self.engine.plan_with(problem, &constraints)?)
    }

    /// The kernel of a variant, or of the planner's choice.
    pub(crate) async fn prepare(
        &self,
        problem: &dyn Problem,
        variant: Option<String>,
    ) -> Result<Kernel, Failure> {
        let exact = variant.is_some();
        let plan = self.plan(problem, variant)?;
        Ok(if exact { self.engine.prepare_exact(&plan).await? } else { self.engine.prepare(&plan).await? })
    }
}

/// A promise of the page's for a future of ours.
pub(crate) fn promise(future: impl Future<Output = Result<JsValue, Failure>> + 'static) -> Promise {
    future_to_promise(async move { future.await.map_err(JsValue::from) })
}
