//! The order in which things happen, and end.

use ash::vk;
use foveal::kernels::attention::{Attention, Mask, Shape};
use foveal::{
    Described, Dtype, Engine, HostTensor, Options, Plan, Problem,
    testing::{Reference, compare},
    wgpu,
};
use foveal::{kernels::Name, testing::Rows};

use crate::Failure;
use crate::bridge::{self, Adapter, Lent};
use crate::host::{Buffer, Device, Machine};

/// Whether the outputs are right, and wgpu let go of all that it was lent.
pub(crate) fn run() -> Result<bool, Failure> {
    // Declared in the order in which an engine has them, so that they end in the other: wgpu's before the host's.
    let lent = Lent::default();
    let machine = Machine::open(bridge::instance_extensions)?;
    let adapter = Adapter::new(machine.handles(), &lent)?;
    let mut features = adapter.device_features()?;
    let device = Device::open(&machine, adapter.device_extensions(), |info, create| {
        create(&features.add_to_device_create(info))
    })?;
    println!("host:   its own VkInstance, VkDevice and VkQueue on {}", machine.name);

    let right = on_device(&device, &adapter, &lent)?;
    let after_device = lent.count();
    drop(adapter);
    let after_all = lent.count();
    println!("wgpu:   let go of them: {after_device} left after its device, {after_all} after its instance");
    // The adapter keeps the instance; after it nothing is left, and the host may destroy what is its own.
    Ok(right && after_device == 1 && after_all == 0)
}

fn on_device(host: &Device<'_>, adapter: &Adapter, lent: &Lent) -> Result<bool, Failure> {
    let problem = Attention::new(Shape::bhtd(1, 4, 256, 64)).mask(Mask::parse("causal")?);
    let tensors = problem.random_inputs(1);
    let tensors: Vec<(&str, &HostTensor)> = tensors.iter().map(|(name, tensor)| (&**name, tensor)).collect();

    let buffers = Buffers::new(host, &problem)?;
    let bytes: Vec<u8> = tensors.iter().flat_map(|(_, tensor)| tensor.to_bytes(Dtype::F32)).collect();
    buffers.staging.mapped(bytes.len(), |mapped| mapped.copy_from_slice(&bytes))?;

    {
        let (device, queue) = adapter.open(host.handles(), lent)?;
        let options = Options { cache_dir: None, ..Options::default() };
        let engine = Engine::from_device_with(device.clone(), queue.clone(), options)?;
        let plan = engine.plan(&problem)?;
        // Checks itself, which submits to the queue: an engine does it when it loads.
        let kernel = pollster::block_on(engine.prepare(&plan))?;
        println!("foveal: {} on {}", problem.describe(), engine.profile().key());
        println!("        variant {}, {:?}", kernel.plan().variant, kernel.self_check());

        let wrapped = buffers.wrapped(&device, kernel.plan(), lent);
        println!("wgpu:   holds {} objects of the host's: instance, device, buffers", lent.count());
        let bound: Vec<(&str, &wgpu::Buffer)> =
            wrapped.iter().map(|(name, buffer)| (&**name, buffer)).collect();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        kernel.bind(&bound)?.encode(&mut encoder);

        // One queue, three submissions. Their order and the host's barriers are all the synchronisation there is.
        buffers.upload(host)?;
        queue.submit([encoder.finish()]);
        host.download(&buffers.output.1, &buffers.staging)?;
        println!("queue:  the host's copies in, Foveal's dispatches, the host's copy out; one fence");
        // The fence was the host's. wgpu looks at its own to see what it may let go of.
        device.poll(wgpu::PollType::wait_indefinitely())?;
    }

    let (name, output) = &buffers.output;
    let len = usize::try_from(output.size())?;
    let bytes = buffers.staging.mapped(len, |mapped| mapped.to_vec())?;
    let expected = problem.reference(&tensors, Rows::All)?;
    let Some(expected) = expected.iter().find(|expected| expected.name == *name) else {
        return Err(Failure::Failed(format!("the reference has no `{name}`")));
    };
    let got = HostTensor::from_bytes(expected.shape.clone(), &bytes, Dtype::F32)?;
    let comparison = compare(expected, &got, problem.tolerance(name))?;
    println!(
        "{name}:      {} elements, relative error {:.1e} of at most {:.1e} against f64: {}",
        comparison.compared,
        comparison.rel_rmse,
        comparison.tolerance.rel_rmse,
        if comparison.passed { "right" } else { "WRONG" },
    );
    Ok(comparison.passed)
}

/// The host's buffers: a tensor each in device memory, and one that it can map.
struct Buffers<'a> {
    inputs: Vec<(Name, Buffer<'a>)>,
    output: (Name, Buffer<'a>),
    staging: Buffer<'a>,
}

impl<'a> Buffers<'a> {
    fn new(host: &'a Device<'a>, problem: &Attention) -> Result<Self, Failure> {
        let usage = vk::BufferUsageFlags::STORAGE_BUFFER
            | vk::BufferUsageFlags::TRANSFER_SRC
            | vk::BufferUsageFlags::TRANSFER_DST;
        let mut all = Vec::new();
        for tensor_spec in problem.tensors() {
            let buffer =
                host.buffer(tensor_spec.size_bytes(), usage, vk::MemoryPropertyFlags::DEVICE_LOCAL)?;
            all.push((tensor_spec.name, buffer));
        }
        // Inputs come first, then outputs; this problem has one of those.
        let Some(output) = all.pop() else {
            return Err(Failure::Failed("a problem without tensors".to_owned()));
        };
        let size = all.iter().map(|(_, buffer)| buffer.size()).sum();
        let usage = vk::BufferUsageFlags::TRANSFER_SRC | vk::BufferUsageFlags::TRANSFER_DST;
        let visible = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
        let staging = host.buffer(size, usage, visible)?;
        Ok(Self { inputs: all, output, staging })
    }

    fn upload(&self, host: &Device<'_>) -> Result<(), Failure> {
        let inputs: Vec<&Buffer<'_>> = self.inputs.iter().map(|(_, buffer)| buffer).collect();
        host.upload(&self.staging, &inputs, &self.output.1)
    }

    /// wgpu's view of each tensor's buffer, by the plan's names.
    fn wrapped(&self, device: &wgpu::Device, plan: &Plan, lent: &Lent) -> Vec<(Name, wgpu::Buffer)> {
        let all = self.inputs.iter().chain([&self.output]);
        let bound = all.filter(|(name, _)| plan.tensor(name).is_some());
        let wrap = |(name, buffer): &(Name, Buffer<'_>)| {
            (name.clone(), bridge::buffer(device, name, buffer.handle(), buffer.size(), lent))
        };
        bound.map(wrap).collect()
    }
}
