//! Two memories of a stream on the GPU, and what it takes to show them one token.
//!
//! *Linear attention* keeps a state a head, which the token changes: one buffer is read and another written, and the next
//! token takes them the other way round. *Windowed attention* keeps the last keys and values in a ring. A pass of the
//! host's before both makes queries, keys and values of the token, a pass after both appends what they gave out to
//! histories. Where in ring and history that goes, a clock on the device tells: the CPU records the same commands every
//! second token, and reads nothing.

use foveal::kernels::Layout;
use foveal::{
    Attention, AttentionTensors, Binding, BoundKernel, Dtype, Engine, Gate, HostTensor, LinearAttention,
    LinearShape, LinearTensors, Mask, Problem, Rule, Shape, TensorData, wgpu,
};
use foveal_examples_common::{Failure, Host};

use crate::melody::{FEATURES, Note};
use crate::model::{HEADS, HEADS_32, Model, WIDTH};
use crate::pass::{Pass, pass};

/// Factor of the cosines that softmax sees.
const SHARPNESS: f64 = 8.0;
/// Numbers in a row of all heads.
pub(crate) const ROW: usize = HEADS * WIDTH;

/// Bytes of so many f32.
const fn bytes(count: usize) -> u64 {
    (count * size_of::<f32>()) as u64
}

/// Where the token's tensors begin in their buffer, as `token.wgsl` has it: offsets of bindings are multiples of 256.
const Q: u64 = 0;
const K: u64 = bytes(ROW);
const V: u64 = 2 * K;
const G: u64 = 3 * K;
const BETA: u64 = G + 256;
const ROWS_END: u64 = BETA + 256;

/// Linear attention with the gated delta rule (Yang et al. 2024) over `tokens` tokens.
pub(crate) fn linear(tokens: usize) -> LinearAttention {
    LinearAttention::new(LinearShape::bhtd(1, HEADS, tokens, WIDTH))
        .rule(Rule::Delta)
        .gate(Gate::Scalar)
        .layout(Layout::Bthd)
        .scale(1.0)
}

/// Attention of one query to the `keys` first slots of a ring, as many as the tensor `keys` says.
pub(crate) fn ring(window: usize) -> Attention {
    Attention::new(Shape::bhtd(1, HEADS, 1, WIDTH).kv(HEADS, window)).scale(SHARPNESS).kv_lengths("keys")
}

/// The ring's equivalent: attention over the whole sequence that sees the last `window` tokens only.
pub(crate) fn windowed(tokens: usize, window: usize) -> Result<Attention, Failure> {
    let shape = Shape::bhtd(1, HEADS, tokens, WIDTH);
    let mask = Mask::parse(&format!("causal & window({}, 0)", window - 1))?;
    Ok(Attention::new(shape).scale(SHARPNESS).mask(mask).layout(Layout::Bthd))
}

/// Both memories, with all that they keep on the device.
pub(crate) struct Memories {
    /// Reading one of the states and writing the other, and the other way round.
    pub(crate) linear: [BoundKernel; 2],
    pub(crate) windowed: BoundKernel,
    arrive: Pass,
    append: Pass,
    /// The token, as it arrives.
    features: wgpu::Buffer,
    ring_k: wgpu::Buffer,
    ring_v: wgpu::Buffer,
    /// They swap their roles with every token.
    states: [wgpu::Buffer; 2],
    linear_history: wgpu::Buffer,
    windowed_history: wgpu::Buffer,
    tokens: usize,
}

impl Memories {
    pub(crate) async fn new(
        engine: &Engine,
        host: &Host,
        tokens: usize,
        window: usize,
    ) -> Result<Self, Failure> {
        // The engine's buffers are zeroed: an empty state, an empty ring, a clock at 0.
        let buffer = async |name: &str, size: u64| engine.buffer(name, size).await;
        let weights = Model::new().words();
        let weights = HostTensor::new(vec![weights.len()], TensorData::F32(weights))?;
        let weights = engine.upload("weights", &weights, Dtype::F32).await?;
        let features = host.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("features"),
            size: bytes(FEATURES),
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        // The token's queries, keys, values, gates and betas.
        let rows = buffer("rows", ROWS_END).await?;
        // Slots of the ring that are filled, and tokens that came before.
        let clock = buffer("clock", bytes(2)).await?;
        let (ring_k, ring_v) = (
            buffer("ring of keys", bytes(window * ROW)).await?,
            buffer("ring of values", bytes(window * ROW)).await?,
        );
        let state = bytes(WIDTH * ROW);
        let states = [buffer("state", state).await?, buffer("other state", state).await?];
        let (linear_o, windowed_o) =
            (buffer("linear o", bytes(ROW)).await?, buffer("windowed o", bytes(ROW)).await?);
        let linear_history = buffer("linear history", bytes(tokens * ROW)).await?;
        let windowed_history = buffer("windowed history", bytes(tokens * ROW)).await?;

        let linear = engine.prepare(&engine.plan(&linear(1).with_states())?).await?;
        let windowed = engine.prepare(&engine.plan(&ring(window))?).await?;
        let row = |from: u64, size: u64| Binding::from(rows.slice(from..from + size));
        let (q, k, v) = (row(Q, bytes(ROW)), row(K, bytes(ROW)), row(V, bytes(ROW)));
        let windowed =
            windowed.bind(&AttentionTensors::new(q, &ring_k, &ring_v, &windowed_o).and("keys", &clock))?;
        let token =
            LinearTensors::new(q, v, &linear_o).k(k).g(row(G, bytes(HEADS))).beta(row(BETA, bytes(HEADS)));
        let [one, other] = &states;
        let linear = [
            linear.bind(&token.clone().state_in(one).state_out(other))?,
            linear.bind(&token.state_in(other).state_out(one))?,
        ];
        let arrive = pass(
            host,
            wgpu::include_wgsl!("token.wgsl"),
            "arrive",
            #[expect(clippy::cast_precision_loss, reason = "what fits in a buffer is far below 2^53")]
            &[("WINDOW", window as f64)],
            &[&features, &weights, &clock, &rows, &ring_k, &ring_v],
        );
        let append = pass(
            host,
            wgpu::include_wgsl!("append.wgsl"),
            "append",
            &[],
            &[&windowed_o, &linear_o, &clock, &windowed_history, &linear_history],
        );
        host.check("the host's own passes")?;
        Ok(Self {
            linear,
            windowed,
            arrive,
            append,
            features,
            ring_k,
            ring_v,
            states,
            linear_history,
            windowed_history,
            tokens,
        })
    }

    /// The token goes to the device with the next submission: 64 bytes, and nothing else is ever uploaded.
    pub(crate) fn write(&self, queue: &wgpu::Queue, note: &Note) {
        queue.write_buffer(&self.features, 0, bytemuck::cast_slice(&note.features()));
    }

    /// Records a token; all that the CPU knows of it is whether it is an odd one.
    pub(crate) fn encode(&self, encoder: &mut wgpu::CommandEncoder, odd: bool) {
        self.arrive.encode(encoder, HEADS_32);
        self.windowed.encode(encoder);
        self.linear[usize::from(odd)].encode(encoder);
        self.append.encode(encoder, 1);
    }

    /// Outputs of both for every token, `[1, T, H, D]`: windowed, then linear.
    pub(crate) async fn read_back(&self, engine: &Engine) -> Result<[HostTensor; 2], Failure> {
        let shape = [1, self.tokens, HEADS, WIDTH];
        Ok([
            engine.read_back(&self.windowed_history, &shape, Dtype::F32).await?,
            engine.read_back(&self.linear_history, &shape, Dtype::F32).await?,
        ])
    }

    /// Bytes that each keeps between tokens: windowed, then linear.
    pub(crate) fn kept(&self) -> [u64; 2] {
        [self.ring_k.size() + self.ring_v.size(), self.states[0].size()]
    }
}

/// Inputs for measuring a kernel, with a ring that is full.
pub(crate) fn inputs_to_time(
    problem: &dyn Problem,
    window: usize,
) -> Result<Vec<(String, HostTensor)>, Failure> {
    let keys = i32::try_from(window).map_err(|error| Failure::usage("--window", error))?;
    let full = HostTensor::new(vec![1], TensorData::I32(vec![keys]))?;
    let inputs = problem.random_inputs(1).into_iter();
    Ok(inputs
        .map(
            |(name, tensor)| if name == "keys" { (name.into(), full.clone()) } else { (name.into(), tensor) },
        )
        .collect())
}
