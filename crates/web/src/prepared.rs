//! Kernels that a page prepares once, binds to tensors on the device, and records as often as it likes.

use std::rc::Rc;

use foveal::{Access, BoundKernel, DeviceTensor, Dtype, Kernel, wgpu};
use foveal_kernels::{HostTensor, operator};
use js_sys::{Array, Object, Promise};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::describe::{check_read, described};
use crate::device::{Device, Held, Inner, promise};
use crate::failure::Failure;
use crate::objects::set;
use crate::tensors::{TensorArgument, given, options, zeros};

/// A problem's kernel, compiled and checked.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct PreparedKernel {
    device: Rc<Inner>,
    kernel: Kernel,
}

/// A kernel with its tensors.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Bound {
    kernel: BoundKernel,
    /// Memory of tensors that are dropped is given to others.
    _tensors: Vec<(String, Held)>,
}

/// Commands that are being recorded, all in one compute pass.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Encoder {
    device: Rc<Inner>,
    encoder: wgpu::CommandEncoder,
    pass: wgpu::ComputePass<'static>,
}

#[wasm_bindgen]
impl Device {
    /// Prepares the kernel of a problem, whose tensors may lack their elements.
    pub fn prepare(
        &self,
        operator_name: String,
        options_text: String,
        tensors: &Array,
        variant: Option<String>,
    ) -> Promise {
        let device = Rc::clone(&self.inner);
        let tensors = given(tensors);
        promise(async move {
            let tensors = device.described(tensors?)?;
            let options = options(&options_text)?;
            let problem = operator(&operator_name)?.problem(&options, &tensors)?;
            check_read(&problem.tensors(), &options, &tensors)?;
            drop(tensors);
            let kernel = device.prepare(&*problem, variant).await?;
            Ok(PreparedKernel { device, kernel }.into())
        })
    }

    /// An encoder without commands.
    #[must_use]
    pub fn encoder(&self) -> Encoder {
        let device = Rc::clone(&self.inner);
        let label = Some("foveal.page");
        let mut encoder =
            device.engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        let descriptor = wgpu::ComputePassDescriptor { label, timestamp_writes: None };
        let pass = encoder.begin_compute_pass(&descriptor).forget_lifetime();
        Encoder { device, encoder, pass }
    }

    /// Replaces the elements of a held tensor, for work that is submitted later.
    ///
    /// # Errors
    /// As an object with `kind`, `argument` and `message`.
    pub fn write(&self, number: u32, tensor: &Array) -> Result<(), JsValue> {
        let write = || -> Result<(), Failure> {
            let Held { tensor: place, host } = self.inner.held(number, "this")?;
            if host.is_some() {
                return Err(unlike("source", "another: this one describes problems, and stays as it is"));
            }
            for (name, given) in given(tensor)? {
                let TensorArgument::Host(tensor) = given else { return Err(unlike(&name, "elements")) };
                check(&name, &place, tensor.shape(), tensor.dtype().unwrap_or_default())?;
                let bytes = tensor.to_bytes(place.dtype());
                self.inner.engine.queue().write_buffer(place.binding().buffer, 0, &bytes);
            }
            Ok(())
        };
        Ok(write()?)
    }
}

#[wasm_bindgen]
impl PreparedKernel {
    /// The plan, as JSON.
    #[must_use]
    pub fn plan(&self) -> String {
        crate::explain::plan(self.kernel.plan())
    }

    /// Binds held tensors, and makes outputs that are not among them: `{ bound, outputs }`.
    pub fn bind(&self, tensors: &Array) -> Promise {
        let Self { device, kernel } = self.clone();
        let tensors = given(tensors);
        promise(async move {
            let mut held = Vec::new();
            for (name, given) in tensors? {
                let TensorArgument::Held(number) = given else { return Err(unlike(&name, "one on the GPU")) };
                let tensor = device.held(number, &name)?;
                held.push((name, tensor));
            }
            let mut copies: Vec<(&str, &HostTensor)> = Vec::new();
            for (name, Held { tensor, host }) in &held {
                if let Some(wanted) = kernel.plan().tensor(name) {
                    check(name, tensor, &wanted.shape, wanted.dtype)?;
                }
                // Lists and lengths are followed without a test on the device.
                copies.extend(host.as_deref().map(|host| (name.as_str(), host)));
            }
            kernel.plan().problem.check_inputs(&copies)?;
            let outputs = Array::new();
            for wanted in &kernel.plan().tensors {
                if wanted.access == Access::Write && !held.iter().any(|(name, _)| *name == wanted.name) {
                    let tensor = device.engine.output_tensor(wanted).await?;
                    outputs.push(&device.hold(&wanted.name, tensor.clone(), None));
                    held.push((wanted.name.clone().into_owned(), Held { tensor, host: None }));
                }
            }
            let mut bindings = Vec::new();
            for (name, held) in &held {
                bindings.push((name.as_str(), held.tensor.binding()));
            }
            let bound = kernel.bind(&bindings)?;
            let object = Object::new();
            set(&object, "bound", Bound { kernel: bound, _tensors: held });
            set(&object, "outputs", outputs);
            Ok(object.into())
        })
    }
}

#[wasm_bindgen]
impl Bound {
    /// Records the kernel.
    pub fn encode(&self, encoder: &mut Encoder) {
        self.kernel.encode_in_pass(&mut encoder.pass);
    }
}

#[wasm_bindgen]
impl Encoder {
    /// Submits what was recorded.
    pub fn submit(self) {
        let Self { device, encoder, pass } = self;
        // Ends it.
        drop(pass);
        device.engine.queue().submit([encoder.finish()]);
    }
}

impl Inner {
    /// Tensors that describe a problem, with zeros in place of elements that do not.
    pub(crate) fn described(
        &self,
        tensors: Vec<(String, TensorArgument)>,
    ) -> Result<Vec<(String, HostTensor)>, Failure> {
        described(tensors, |number, name| self.stand_in(number, name))
    }

    /// A held tensor's elements, or zeros where those describe nothing.
    fn stand_in(&self, number: u32, name: &str) -> Result<HostTensor, Failure> {
        let held = self.held(number, name)?;
        match &held.host {
            Some(host) => Ok((**host).clone()),
            None => zeros(held.tensor.shape(), held.tensor.dtype()),
        }
    }
}

fn unlike(name: &str, expected: &str) -> Failure {
    Failure::usage(format!("tensor `{name}`"), format!("expected {expected}"))
}

/// Checks the shape and the storage type of a tensor on the device; its size is checked where it is bound.
fn check(name: &str, held: &DeviceTensor, shape: &[usize], dtype: Dtype) -> Result<(), Failure> {
    if (held.shape(), held.dtype()) == (shape, dtype) {
        return Ok(());
    }
    let message = format!("it is {:?} {} on the GPU, and {shape:?} {dtype} here", held.shape(), held.dtype());
    Err(Failure::usage(format!("tensor `{name}`"), message))
}
