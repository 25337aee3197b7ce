//! Lists of blocks that the device makes, entry for entry and bit for bit against those of the CPU.

use anyhow::{Context, Result, ensure};
use foveal::Engine;
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::block_mask::{BlockClass, BlockMask};
use foveal_kernels::expr::{Evaluator, Expr, Sizes, Table};
use foveal_kernels::{
    Access, BoundTo, Constraints, Described, Dtype, HostTensor, ParamValue, Pass, Plan, Problem, TensorSpec,
    operator, testing::Reference,
};
use foveal_shaders::Value;
use foveal_tests::{device, harness, say};
use pollster::block_on;

use crate::engine_or_skip;

/// The passes that make lists, with the lists as an output; `None` if the plan makes none.
fn making_lists(plan: &Plan) -> Option<Plan> {
    let made = plan.scratch.iter().position(|scratch| scratch.name == "foveal.attention.lists")?;
    let mut plan = plan.clone();
    plan.passes.retain(|pass| ["classify", "compact", "bits"].iter().any(|name| pass.label.ends_with(name)));
    let words = usize::try_from(plan.scratch[made].bytes / 4).ok()?;
    let tensor_spec = plan.tensors.len();
    plan.tensors.push(TensorSpec {
        name: "lists".into(),
        access: Access::Write,
        dtype: Dtype::I32,
        shape: vec![words],
        span: words,
        head_axis: None,
    });
    for binding in plan.passes.iter_mut().flat_map(|pass| &mut pass.bindings) {
        if binding.source == BoundTo::Scratch(made) {
            binding.source = BoundTo::Tensor(tensor_spec);
        }
    }
    (!plan.passes.is_empty()).then_some(plan)
}

fn param(pass: &Pass, name: &str) -> Result<usize> {
    let found = pass.params.iter().find(|(given, _)| given == name);
    match found.with_context(|| format!("no parameter `{name}`"))?.1 {
        ParamValue::U32(x) => Ok(x as usize),
        other => anyhow::bail!("`{name}` is {other:?}"),
    }
}

fn tunable(pass: &Pass, name: &str) -> Result<usize> {
    match pass.request.tunables.iter().find(|(given, _)| given == name) {
        Some((_, Value::U32(x))) => Ok(*x as usize),
        other => anyhow::bail!("`{name}` is {other:?}"),
    }
}

/// The lists of a mask, from its value at every element.
fn on_host(spec: &Attention, first: &Pass, inputs: &[(&str, &HostTensor)]) -> Result<BlockMask> {
    let sizes = Sizes {
        batch: spec.batch,
        q_heads: spec.q_heads,
        kv_heads: spec.kv_heads,
        q_len: spec.q_len,
        kv_len: spec.kv_len,
    };
    let tables: Vec<Table> = spec.tables.iter().map(|input| input.table.clone()).collect();
    let program = spec.mask.expression().context("no expression")?.bind(&tables)?;
    let evaluator = Evaluator::new(&program, sizes, inputs)?;
    let mut scratch = evaluator.scratch();
    let mut visible = Vec::new();
    for b in 0..spec.batch {
        for h in 0..spec.q_heads {
            for q in 0..spec.q_len {
                evaluator.row(&mut scratch, b, h, q)?;
                for k in 0..spec.kv_len {
                    visible.push(evaluator.visible_at(&mut scratch, k)?);
                }
            }
        }
    }
    let heads = param(first, "list_heads")?;
    let batch = param(first, "lists")? / heads / param(first, "list_tiles")?;
    let (tile, kv_block) = (tunable(first, "TILE")?, tunable(first, "KV_BLOCK")?);
    // Nothing is known of any rectangle: every block is looked at.
    let unknown = |_: std::ops::Range<usize>,
                   _: std::ops::Range<usize>,
                   _: std::ops::Range<usize>,
                   _: std::ops::Range<usize>| { BlockClass::Partial };
    let mask = BlockMask::from_classes(sizes, tile, kv_block, batch > 1, heads > 1, &unknown)?;
    Ok(mask.with_bits(&|b, h, q, k| visible[((b * spec.q_heads + h) * spec.q_len + q) * spec.kv_len + k])?)
}

/// Compares the device's words with the lists of the CPU; the number of partial blocks.
fn same_lists(words: &[u32], plan: &Plan, host: &BlockMask) -> Result<usize> {
    let first = &plan.passes[0];
    let at = |name: &str| param(first, name);
    let with_bits = plan.passes.iter().any(|pass| pass.label.ends_with("bits"));
    let (bits_at, entries_at) = (at("bits_at")?, at("entries_at")?);
    let block_words = host.grid().block_words();
    let bits = host.bits().context("the lists of the CPU have no bits")?;
    ensure!(at("lists")? == host.grid().rows() && at("kv_blocks")? == host.grid().kv_blocks());
    for row in 0..host.grid().rows() {
        let word = |name: &str| -> Result<usize> { Ok(words[at(name)? + row] as usize) };
        let (partial, full) = host.row(row);
        ensure!(word("order_at")? == row, "list {row} is in place {}", word("order_at")?);
        ensure!(
            word("partial_at")? == partial.len(),
            "list {row}: {} partial blocks, not {}",
            word("partial_at")?,
            partial.len()
        );
        let count = word("count_at")?;
        ensure!(count == partial.len() + full.len(), "list {row}: {count} blocks");
        let from = entries_at + word("first_at")?;
        ensure!(
            words[from..from + count] == [partial, full].concat(),
            "list {row} is {:?}, not {partial:?} and {full:?}",
            &words[from..from + count]
        );
        if !with_bits {
            continue;
        }
        for (slot, block) in partial.iter().enumerate() {
            let ours = bits_at + (word("bits_of_at")? + slot) * block_words;
            let theirs = (host.partial_ptr()[row] as usize + slot) * block_words;
            ensure!(
                words[ours..ours + block_words] == bits[theirs..theirs + block_words],
                "list {row}: the bits of block {block} differ"
            );
        }
    }
    Ok(host.partial_ptr().last().copied().unwrap_or(0) as usize)
}

struct Example {
    mask: &'static str,
    tables: Vec<Table>,
    spec: Attention,
}

fn examples() -> Vec<Example> {
    let spec = |q: [usize; 4], [_, heads, len, _]: [usize; 4]| {
        Attention::new(Shape::bhtd(q[0], q[1], q[2], q[3]).kv(heads, len))
    };
    let table = |name: &str, dtype: Dtype, shape: &[usize]| Table::new(name, dtype, shape.to_vec());
    let i32s = |name: &str, shape: &[usize]| table(name, Dtype::I32, shape);
    vec![
        Example {
            mask: "causal & same(doc)",
            tables: vec![i32s("doc", &[600])],
            spec: spec([2, 4, 600, 64], [2, 2, 600, 64]),
        },
        Example {
            mask: "same(doc) | k < 3",
            tables: vec![i32s("doc", &[2, 512])],
            spec: spec([2, 2, 512, 64], [2, 2, 512, 64]),
        },
        Example {
            mask: "k <= q + shift[h]",
            tables: vec![i32s("shift", &[3])],
            spec: spec([1, 3, 530, 32], [1, 1, 777, 32]),
        },
        Example {
            mask: "x[b, q] + y[h, k] > 0.25",
            tables: vec![table("x", Dtype::F16, &[2, 700]), table("y", Dtype::Bf16, &[2, 513])],
            spec: spec([2, 2, 700, 16], [2, 2, 513, 16]),
        },
        Example {
            mask: "shown[b, 0, q, k] != 0 & g == shown[0, 0, 0, 0]",
            tables: vec![table("shown", Dtype::U8, &[2, 1, 515, 541])],
            spec: spec([2, 4, 515, 33], [2, 2, 541, 33]).dtype(Dtype::F16),
        },
        // Everything, and nothing.
        Example {
            mask: "doc[q] >= 0",
            tables: vec![i32s("doc", &[520])],
            spec: spec([1, 2, 520, 64], [1, 2, 520, 64]),
        },
        Example {
            mask: "doc[q] < 0 & k < 100",
            tables: vec![i32s("doc", &[520])],
            spec: spec([1, 2, 520, 64], [1, 2, 520, 64]),
        },
        // One list for both batch entries, and many blocks: more than the threads that sort them.
        Example {
            mask: "same(seg_q, seg_k)",
            tables: vec![i32s("seg_q", &[70]), i32s("seg_k", &[9000])],
            spec: spec([2, 1, 70, 64], [2, 1, 9000, 64]),
        },
    ]
}

fn check(engine: &Engine, example: &Example, max_groups: Option<u32>) -> Result<(usize, usize)> {
    let mut spec = example.spec.clone().mask(Expr::parse_mask(example.mask)?);
    for table in &example.tables {
        spec = spec.table(table.clone());
    }
    let mut adapter = engine.profile().clone();
    if let Some(max) = max_groups {
        adapter.limits.max_compute_workgroups_per_dimension = max;
    }
    let inputs = spec.random_inputs(21);
    let (mut plans, mut partial) = (0, 0);
    for variant in operator(spec.operator())?.variants() {
        let name = || format!("{} by {}", spec.describe(), variant.name);
        let Ok(plan) = spec.plan(&adapter, &Constraints::variant(variant.name)) else { continue };
        let Some(plan) = making_lists(&plan) else { continue };
        let kernel = block_on(engine.prepare_exact(&plan)).with_context(name)?;
        let outputs = harness::run(engine, &kernel, &harness::storage(&spec.tensors(), &inputs)?);
        let outputs = outputs.with_context(name)?;
        let lists = outputs.iter().find(|output| output.tensor_spec.name == "lists").context("no lists")?;
        let (words, _) = lists.bytes.as_chunks::<4>();
        let words: Vec<u32> = words.iter().copied().map(u32::from_le_bytes).collect();
        let host = on_host(&spec, &plan.passes[0], &harness::borrowed(&inputs)).with_context(name)?;
        partial += same_lists(&words, &plan, &host).with_context(name)?;
        plans += 1;
    }
    Ok((plans, partial))
}

#[test]
fn device_lists_equal_host_lists() -> Result<()> {
    let engine = engine_or_skip!();
    // No pass of these plans writes what the self-check would look at.
    let unchecked = device::unchecked(&engine)?;
    let mut all = (0, 0);
    for example in examples() {
        let (plans, partial) = check(&unchecked, &example, None)?;
        ensure!(plans > 0, "no plan makes lists of `{}` on the device", example.mask);
        all = (all.0 + plans, all.1 + partial);
    }
    say(&format!("{} plans make lists as the CPU does, {} blocks of bits", all.0, all.1));
    // Lists over two dimensions of workgroups.
    let (plans, _) = check(&unchecked, &examples()[0], Some(19))?;
    ensure!(plans > 0, "no plan makes lists within 19 workgroups");
    Ok(())
}
