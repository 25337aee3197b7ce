//! A step of a decoder on the GPU, for a batch of requests: two memories, side by side as in Hymba (Dong et al. 2024).
//!
//! *Attention* sees the last keys and values. New ones are turned by their positions and appended to pages, which requests
//! share by a table; groups of queries share keys. *Linear attention* keeps a state a head. A step takes a draft of each
//! request, a token that is certain and guesses, and gives out for all of them; what was guessed wrong is taken back by what
//! the next step binds and overwrites. Nothing is read back.

use std::ops::Range;

use foveal::kernels::{Layout, attention::Pages};
use foveal::{
    Append, Attention, AttentionTensors, Binding, BoundKernel, Dtype, Engine, Gate, HostTensor,
    LinearAttention, LinearShape, LinearTensors, Mask, Pairing, Rule, Shape, TensorData, wgpu,
};
use foveal_examples_common::{Failure, Host};

use crate::batch::{Batch, REQUESTS, StateAt, Step, Turn};
use crate::melody::FEATURES;
use crate::model::{ALL_HEADS, HEADS, KV_HEADS, Model, TENSORS, WIDTH};
use crate::pages::PAGE;
use crate::pass::{Pass, pass};

/// Factor of the cosines that softmax sees.
const SHARPNESS: f64 = 8.0;
/// Base of the frequencies of rotary positions.
const BASE: f64 = 10_000.0;
/// Numbers in a row of all heads.
const ROW: usize = HEADS * WIDTH;
/// Numbers between the gates and the betas of a request: bindings begin at multiples of 256 bytes.
const NARROW: usize = 64;
/// Tokens of a draft at most: their gates have to lie before the betas.
pub(crate) const MAX_DRAFT: usize = NARROW / HEADS;

/// Bytes of so many numbers, f32 or i32.
const fn bytes(count: usize) -> u64 {
    (count * size_of::<f32>()) as u64
}

/// Keys and values of so many requests and tokens, to be appended with rotary positions. Queries are turned by the same.
pub(crate) fn append(requests: usize, tokens: usize, capacity: usize) -> Append {
    Append::new([requests, KV_HEADS, tokens], capacity, [WIDTH, WIDTH])
        .layout(Layout::Bthd)
        .rope(Pairing::Halves, BASE)
        .with_rotated_q(HEADS)
}

/// Attention of so many requests and tokens to the last `window` of `keys`.
pub(crate) fn attention(shape: [usize; 2], keys: usize, window: usize) -> Result<Attention, Failure> {
    let [requests, tokens] = shape;
    let mask = Mask::parse(&format!("causal & window({}, 0)", window - 1))?;
    let shape = Shape::bhtd(requests, HEADS, tokens, WIDTH).kv(KV_HEADS, keys);
    Ok(Attention::new(shape).layout(Layout::Bthd).scale(SHARPNESS).mask(mask))
}

/// Linear attention of one request with the gated delta rule (Yang et al. 2024).
pub(crate) fn linear(tokens: usize) -> LinearAttention {
    LinearAttention::new(LinearShape::bhtd(1, HEADS, tokens, WIDTH))
        .rule(Rule::Delta)
        .gate(Gate::Scalar)
        .layout(Layout::Bthd)
        .scale(1.0)
}

/// The step, with all that is kept on the device.
pub(crate) struct Decoder {
    project: Pass,
    append: BoundKernel,
    pub(crate) attention: BoundKernel,
    /// By request, window and entry of the state that is gone on from.
    pub(crate) linear: Vec<[Vec<BoundKernel>; 2]>,
    features: wgpu::Buffer,
    kv_len: wgpu::Buffer,
    q_len: wgpu::Buffer,
    block_table: wgpu::Buffer,
    pools: [wgpu::Buffer; 2],
    /// The outputs of attention, then of linear attention: `[REQUESTS, draft, H, D]`.
    outputs: [wgpu::Buffer; 2],
    /// The same of all settled tokens, for each request.
    histories: Vec<[wgpu::Buffer; 2]>,
    /// Tokens of a draft.
    draft: usize,
    /// Workgroups of `project.wgsl`.
    groups: [u32; 3],
}

/// Where the projected tensors of a batch begin in their buffer.
struct Rows {
    draft: usize,
}

impl Rows {
    /// Numbers before gates and betas.
    fn wide(&self) -> usize {
        ALL_HEADS * WIDTH * REQUESTS * self.draft
    }

    fn all(&self) -> usize {
        self.wide() + 2 * REQUESTS * NARROW
    }

    /// One of `TENSORS`, of all requests.
    fn tensor(&self, tensor: usize) -> Range<u64> {
        let row = WIDTH * REQUESTS * self.draft;
        let first = TENSORS[..tensor].iter().sum::<usize>() * row;
        bytes(first)..bytes(first + TENSORS[tensor] * row)
    }

    /// The same of one request.
    fn of(&self, request: usize, tensor: usize) -> Range<u64> {
        let Range { start, end } = self.tensor(tensor);
        let size = (end - start) / REQUESTS as u64;
        let start = start + request as u64 * size;
        start..start + size
    }

    /// Gates, or betas, of one request.
    fn narrow(&self, request: usize, betas: bool) -> Range<u64> {
        let first = self.wide() + (2 * request + usize::from(betas)) * NARROW;
        bytes(first)..bytes(first + HEADS * self.draft)
    }
}

impl Decoder {
    pub(crate) async fn new(
        engine: &Engine,
        host: &Host,
        batch: &Batch,
        draft: usize,
        window: usize,
    ) -> Result<Self, Failure> {
        // The engine's buffers are zeroed: empty states. A table of zeros would name page 0.
        let buffer = async |name: &str, numbers: usize| engine.buffer(name, bytes(numbers)).await;
        let weights = Model::new().words();
        let weights = HostTensor::new(vec![weights.len()], TensorData::F32(weights))?;
        let weights = engine.upload("weights", &weights, Dtype::F32).await?;
        let table = HostTensor::new(vec![REQUESTS, batch.places], TensorData::I32(batch.table()))?;
        let block_table = engine.upload("block table", &table, Dtype::I32).await?;
        let tokens = REQUESTS * draft;
        let features = buffer("features", tokens * FEATURES).await?;
        let (kv_len, q_len) = (buffer("kv_len", REQUESTS).await?, buffer("q_len", REQUESTS).await?);
        let places = Rows { draft };
        let rows = buffer("rows", places.all()).await?;
        let rotated = buffer("rotated queries", tokens * ROW).await?;
        let pool = batch.pool * PAGE * KV_HEADS * WIDTH;
        let pools = [buffer("pages of keys", pool).await?, buffer("pages of values", pool).await?];
        let outputs = [buffer("attention o", tokens * ROW).await?, buffer("linear o", tokens * ROW).await?];
        let state = WIDTH * ROW;
        let (mut states, mut histories) = (Vec::new(), Vec::new());
        for its in &batch.requests {
            states
                .push([buffer("states", draft * state).await?, buffer("other states", draft * state).await?]);
            // The last draft may go beyond the end.
            let history = (its.notes.len() + draft) * ROW;
            histories.push([
                buffer("attention history", history).await?,
                buffer("linear history", history).await?,
            ]);
        }

        let capacity = batch.places * PAGE;
        let append = append(REQUESTS, draft, capacity).kv_lengths("kv_len").q_lengths("q_len").block_table(
            "block_table",
            PAGE,
            batch.pool,
        );
        let attention = attention([REQUESTS, draft], capacity, window)?
            .kv_lengths("kv_len")
            .q_lengths("q_len")
            .pages(Pages::new("block_table", PAGE, batch.pool));
        let linear = linear(draft).with_initial_state().state_window(draft);
        let append = engine.prepare(&engine.plan(&append)?).await?;
        let attention = engine.prepare(&engine.plan(&attention)?).await?;
        let linear = engine.prepare(&engine.plan(&linear)?).await?;

        let row = |place: Range<u64>| Binding::from(rows.slice(place));
        let [k_cache, v_cache] = &pools;
        let [attention_o, linear_o] = &outputs;
        let append = append.bind(&[
            ("q", row(places.tensor(0))),
            ("k", row(places.tensor(1))),
            ("v", row(places.tensor(2))),
            ("kv_len", (&kv_len).into()),
            ("q_len", (&q_len).into()),
            ("block_table", (&block_table).into()),
            ("k_cache", k_cache.into()),
            ("v_cache", v_cache.into()),
            ("q_rotated", (&rotated).into()),
        ])?;
        let attention = attention.bind(
            &AttentionTensors::new(&rotated, k_cache, v_cache, attention_o)
                .and("kv_len", &kv_len)
                .and("q_len", &q_len)
                .and("block_table", &block_table),
        )?;
        let bind = |request: usize, StateAt { window, entry }: StateAt| {
            let own = |size: usize, at: usize| bytes(at * size)..bytes((at + 1) * size);
            let of = |tensor: usize| row(places.of(request, tensor));
            let windows = &states[request];
            let tensors = LinearTensors::new(of(3), of(5), linear_o.slice(own(draft * ROW, request)))
                .k(of(4))
                .g(row(places.narrow(request, false)))
                .beta(row(places.narrow(request, true)))
                .state_in(windows[window].slice(own(state, entry)))
                .window_states(&windows[1 - window]);
            linear.bind(&tensors)
        };
        let mut bound = Vec::new();
        for request in 0..REQUESTS {
            let from = |window: usize| (0..draft).map(move |entry| bind(request, StateAt { window, entry }));
            bound.push([from(0).collect::<Result<_, _>>()?, from(1).collect::<Result<_, _>>()?]);
        }
        let project =
            pass(host, wgpu::include_wgsl!("project.wgsl"), "project", &[&features, &weights, &rows]);
        host.check("the host's own pass")?;
        let groups = |count: usize| u32::try_from(count).map_err(|error| Failure::usage("workgroups", error));
        Ok(Self {
            project,
            append,
            attention,
            linear: bound,
            features,
            kv_len,
            q_len,
            block_table,
            pools,
            outputs,
            histories,
            draft,
            groups: [groups(ALL_HEADS + 1)?, groups(draft)?, groups(REQUESTS)?],
        })
    }

    /// All that a step uploads: tokens, lengths, and changes of the table of pages.
    pub(crate) fn write(&self, queue: &wgpu::Queue, step: &Step) {
        queue.write_buffer(&self.features, 0, bytemuck::cast_slice(&step.features));
        queue.write_buffer(&self.kv_len, 0, bytemuck::cast_slice(&step.kv_len));
        queue.write_buffer(&self.q_len, 0, bytemuck::cast_slice(&step.q_len));
        for &(at, page) in &step.pages {
            queue.write_buffer(&self.block_table, bytes(at), bytemuck::bytes_of(&page));
        }
    }

    /// Records a step.
    pub(crate) fn encode(&self, encoder: &mut wgpu::CommandEncoder, step: &Step) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        self.project.encode_in_pass(&mut pass, self.groups);
        self.append.encode_in_pass(&mut pass);
        self.attention.encode_in_pass(&mut pass);
        for &Turn { request, state, .. } in &step.turns {
            self.linear[request][state.window][state.entry].encode_in_pass(&mut pass);
        }
        drop(pass);
        // A decoder would go on to its next layer. Here histories are kept, in which a draft begins where the last one was right.
        for &Turn { request, at, .. } in &step.turns {
            let draft = bytes(self.draft * ROW);
            for (output, history) in self.outputs.iter().zip(&self.histories[request]) {
                encoder.copy_buffer_to_buffer(
                    output,
                    request as u64 * draft,
                    history,
                    bytes(at * ROW),
                    draft,
                );
            }
        }
    }

    /// A request's outputs for each of so many tokens, `[1, T, H, D]`: by attention, then by linear attention.
    pub(crate) async fn read_back(
        &self,
        engine: &Engine,
        request: usize,
        tokens: usize,
    ) -> Result<[HostTensor; 2], Failure> {
        let shape = [1, tokens, HEADS, WIDTH];
        let [attention, linear] = &self.histories[request];
        Ok([
            engine.read_back(attention, &shape, Dtype::F32).await?,
            engine.read_back(linear, &shape, Dtype::F32).await?,
        ])
    }

    /// Bytes that each memory keeps of a request: pages, and a state.
    pub(crate) fn kept(&self) -> [u64; 2] {
        let pages: u64 = self.pools.iter().map(wgpu::Buffer::size).sum();
        [pages / REQUESTS as u64, bytes(WIDTH * ROW)]
    }
}
