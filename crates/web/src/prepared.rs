//! Kernels that a page prepares once, binds to tensors on the device, and records as often as it likes.

use std::rc::Rc;

use foveal::{Access, BoundKernel, DeviceTensor, Kernel, TensorSpec, wgpu};
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
    _tensors: Vec<DeviceTensor>,
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
            let held = self.inner.held(number, "this")?;
            let (shape, dtype) = (held.tensor.shape(), held.tensor.dtype());
            if held.host.is_some() {
                let message = format!("{dtype} tensors describe problems and stay as they are: make another");
                return Err(Failure::usage("source", message));
            }
            for (_, given) in given(tensor)? {
                match given {
                    TensorArgument::Host(tensor)
                        if (tensor.shape(), tensor.dtype()) == (shape, Some(dtype)) =>
                    {
                        let place = held.tensor.binding();
                        self.inner.engine.queue().write_buffer(place.buffer, 0, &tensor.to_bytes(dtype));
                    }
                    _ => return Err(Failure::usage("source", format!("expected {shape:?} {dtype}"))),
                }
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
            let tensors = tensors?.into_iter().map(|(name, tensor)| match tensor {
                TensorArgument::Held(number) => device.held(number, &name).map(|held| (name, held)),
                _ => Err(Failure::usage(format!("tensor `{name}`"), "expected one on the GPU")),
            });
            let tensors: Vec<(String, Held)> = tensors.collect::<Result<_, _>>()?;
            check(&kernel.plan().tensors, &tensors)?;
            // Lists and lengths are followed without a test on the device.
            let copies: Vec<(&str, &HostTensor)> = tensors
                .iter()
                .filter_map(|(name, held)| Some((name.as_str(), held.host.as_deref()?)))
                .collect();
            kernel.plan().problem.check_inputs(&copies)?;
            let mut places: Vec<(String, DeviceTensor)> =
                tensors.into_iter().map(|(name, held)| (name, held.tensor)).collect();
            let outputs = Array::new();
            for wanted in kernel.plan().tensors.iter().filter(|wanted| wanted.access == Access::Write) {
                if !places.iter().any(|(name, _)| *name == wanted.name) {
                    let tensor = device.engine.output_tensor(wanted).await?;
                    outputs.push(&device.hold(&wanted.name, tensor.clone(), None));
                    places.push((wanted.name.clone().into_owned(), tensor));
                }
            }
            let named: Vec<(&str, &DeviceTensor)> =
                places.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
            let bound = kernel.bind(&named)?;
            let tensors = places.into_iter().map(|(_, tensor)| tensor).collect();
            let object = Object::new();
            set(&object, "bound", Bound { kernel: bound, _tensors: tensors });
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

/// Checks shapes and storage types against the plan's; sizes and names are checked by the binding.
fn check(wanted: &[TensorSpec], tensors: &[(String, Held)]) -> Result<(), Failure> {
    for (name, Held { tensor, .. }) in tensors {
        let Some(wanted) = wanted.iter().find(|wanted| wanted.name == *name) else { continue };
        if (tensor.shape(), tensor.dtype()) != (wanted.shape.as_slice(), wanted.dtype) {
            let message = format!(
                "{:?} {} is expected, got {:?} {}",
                wanted.shape,
                wanted.dtype,
                tensor.shape(),
                tensor.dtype()
            );
            return Err(Failure::usage(format!("tensor `{name}`"), message));
        }
    }
    Ok(())
}
