//! `foveal mask`: which keys a mask shows, in blocks; as text and as a picture.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ArgMatches;
use foveal_kernels::block_mask::{BlockMask, Counts, ElementTest, Elements};
use foveal_kernels::expr::{Classifier, Evaluator, Expr, Program, Sizes, Table, Variable, check};
use foveal_kernels::{HostTensor, TensorData, did_you_mean};
use serde_json::{Value, json};

use crate::args;
use crate::commands::Verdict;
use crate::failure::usage;
use crate::io::{self, OutputPath};
use crate::picture::mask::{MAX_PANELS, Panel, draw, share};
use crate::picture::png;
use crate::ui::{self, Ui};

/// Elements of partial blocks that are looked at one by one: about a second on two cores.
const AFFORDABLE: u64 = 1 << 25;
/// Where that is too much, elements that the share of visible ones is estimated from.
const SAMPLES: usize = 1 << 16;
/// The widest map in characters; wider ones wrap in a terminal.
const COLUMNS: usize = 64;
/// The most queries and keys whose elements are shown as characters.
const SMALL: usize = 64;

/// The mask that was asked about.
struct Question {
    expression: Expr,
    program: Program,
    sizes: Sizes,
    block: [usize; 2],
    head: Option<usize>,
    tables: Vec<(String, HostTensor)>,
}

/// Block lists of a mask and their statistics.
struct Answer {
    /// The lists, exact if elements were looked at.
    mask: BlockMask,
    /// Counts by the classes of blocks alone.
    by_classes: Counts,
    exact: bool,
    classes_took: Duration,
    elements_took: Duration,
    lists: Vec<List>,
}

/// Statistics of the blocks of one list.
struct List {
    batch: usize,
    head: usize,
    counts: Counts,
    visited: f64,
    visible: f64,
}

pub(crate) fn run(matches: &ArgMatches, ui: Ui) -> Result<Verdict> {
    let question = question(matches)?;
    let png = matches
        .get_one::<PathBuf>("png")
        .map(|path| Ok::<_, anyhow::Error>((path, OutputPath::prepare(path, &inputs(matches))?)))
        .transpose()?;
    let tables: Vec<(&str, &HostTensor)> =
        question.tables.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let evaluator = Evaluator::new(&question.program, question.sizes, &tables)?;
    let elements = Elements::new(&evaluator);
    let test = |b: usize, h: usize, q: usize, k: usize| elements.visible(b, h, q, k);
    let answer = answer(&question, &test)?;
    let image = png.as_ref().map(|_| picture(&question, &answer, &test));
    let small = question.sizes.q_len <= SMALL && question.sizes.kv_len <= SMALL;
    let map = answer.lists.first().map(|list| {
        let blocks = answer.mask.ascii(list.batch, list.head, COLUMNS)?;
        let single = small.then(|| answer.mask.ascii_elements(list.batch, list.head, test)).transpose()?;
        Ok::<_, anyhow::Error>((blocks, single))
    });
    let map = map.transpose()?;
    // Before anything is shown or written: an index out of range makes all of it wrong.
    elements.finish()?;

    let written = match (png, image) {
        (Some((path, place)), Some(image)) => {
            png::write(&image, &place)?;
            Some(path)
        }
        _ => None,
    };
    report(&question, &answer, map.as_ref(), written.map(PathBuf::as_path), ui);
    Ok(Verdict::Passed)
}

fn question(matches: &ArgMatches) -> Result<Question> {
    let text = args::string(matches, "expr").unwrap_or_default();
    let expression = Expr::parse_mask(text).map_err(|error| error.in_argument("mask"))?;
    let size = |name: &str| matches.get_one::<u32>(name).map(|&size| size as usize);
    let q_len = size("q").ok_or_else(|| usage("how many queries? Give --q"))?;
    let q_heads = size("heads").unwrap_or(1);
    let kv_heads = size("kv-heads").unwrap_or(q_heads);
    if !q_heads.is_multiple_of(kv_heads) {
        return Err(usage(format!("--kv-heads: expected a divisor of the {q_heads} heads, got {kv_heads}")));
    }
    let sizes = Sizes {
        batch: size("batch").unwrap_or(1),
        q_heads,
        kv_heads,
        q_len,
        kv_len: size("k").unwrap_or(q_len),
    };
    let block = parse_block(args::string(matches, "block").unwrap_or("64"))?;
    let head = size("head");
    if let Some(head) = head.filter(|&head| head >= q_heads) {
        return Err(usage(format!(
            "--head: expected 0 to {}, got {head}; --heads says how many",
            q_heads - 1
        )));
    }
    let tables = tables(matches, &expression)?;
    let declared: Vec<Table> = tables
        .iter()
        .map(|(name, tensor)| {
            let element = tensor.dtype().ok_or_else(|| {
                usage(format!(
                    "table `{name}`: 64-bit floats are no table's elements, store f32, f16 or bf16"
                ))
            })?;
            Ok(Table::new(name, element, tensor.shape().to_vec()))
        })
        .collect::<Result<_>>()?;
    let program = expression.bind(&declared).map_err(|error| error.in_argument("mask"))?;
    check(&program, sizes, &[]).map_err(|complaint| complaint.in_argument("mask", expression.source()))?;
    Ok(Question { expression, program, sizes, block, head, tables })
}

/// `64` or `64x128`: queries and keys of a block.
fn parse_block(text: &str) -> Result<[usize; 2]> {
    let (q_block, kv_block) = text.split_once(['x', 'X']).unwrap_or((text, text));
    let side = |text: &str| text.trim().parse::<usize>().ok().filter(|side| (1..=1 << 20).contains(side));
    match (side(q_block), side(kv_block)) {
        (Some(q_block), Some(kv_block)) => Ok([q_block, kv_block]),
        _ => Err(usage(format!("--block: expected N or QxK, 1 to {} each, got `{text}`", 1 << 20))),
    }
}

/// The files that tables come from.
fn inputs(matches: &ArgMatches) -> Vec<PathBuf> {
    let tables = args::all::<String>(matches, "table");
    let tables = tables.iter().filter_map(|text| text.split_once('=')).map(|(_, path)| PathBuf::from(path));
    args::all::<PathBuf>(matches, "input").into_iter().chain(tables).collect()
}

/// The tables that the expression reads, from `--table name=FILE` and `--input F`.
fn tables(matches: &ArgMatches, expression: &Expr) -> Result<Vec<(String, HostTensor)>> {
    let mut given = io::read_all(&args::all::<PathBuf>(matches, "input"))?.tensors;
    for text in args::all::<String>(matches, "table") {
        let Some((name, path)) = text.split_once('=') else {
            return Err(usage(format!("--table: expected NAME=FILE, got `{text}`")));
        };
        let mut held = io::read(Path::new(path))?.tensors;
        // A file with one tensor may call it anything.
        let only = if held.len() == 1 { held.keys().next().cloned() } else { None };
        let tensor = held.remove(only.as_deref().unwrap_or(name)).ok_or_else(|| {
            let names: Vec<String> = held.into_keys().collect();
            usage(format!("{path}: holds several tensors and no `{name}`: {}", names.join(", ")))
        })?;
        if given.insert(name.to_owned(), tensor).is_some() {
            return Err(usage(format!("table `{name}` is given twice")));
        }
    }
    let names: Vec<String> = given.keys().cloned().collect();
    let mut found = Vec::new();
    for name in expression.table_names() {
        let tensor = given.remove(name).ok_or_else(|| {
            let held =
                if names.is_empty() { String::new() } else { format!("; given are {}", names.join(", ")) };
            let hint = did_you_mean(name, names.iter().map(String::as_str));
            usage(format!(
                "table `{name}`: the mask reads it, give --table {name}=FILE.npy or --input FILE{held}{hint}"
            ))
        })?;
        let tensor = tensor.load(None).map_err(|error| error.context(format!("table `{name}`")))?;
        found.push((name.to_owned(), narrowed(name, tensor)?));
    }
    Ok(found)
}

/// 64-bit integers, which NumPy makes by default, as those of tables.
fn narrowed(name: &str, tensor: HostTensor) -> Result<HostTensor> {
    let TensorData::I64(values) = tensor.data() else { return Ok(tensor) };
    let narrow = |(at, &value): (usize, &i64)| {
        i32::try_from(value)
            .map_err(|_| usage(format!("table `{name}`: at {at}: expected a 32-bit integer, got {value}")))
    };
    let values: Vec<i32> = values.iter().enumerate().map(narrow).collect::<Result<_>>()?;
    Ok(HostTensor::new(tensor.shape().to_vec(), TensorData::I32(values))?)
}

fn answer(question: &Question, test: &ElementTest<'_>) -> Result<Answer> {
    let Question { program, sizes, block: [q_block, kv_block], .. } = question;
    let start = Instant::now();
    let classifier = Classifier::new(program, *sizes);
    let per_batch = program.depends_on(Variable::Batch);
    let per_head = program.depends_on(Variable::Head) || program.depends_on(Variable::KvHead);
    let by_classes = BlockMask::from_classes(*sizes, *q_block, *kv_block, per_batch, per_head, &classifier)?;
    let classes_took = start.elapsed();

    let start = Instant::now();
    let grid = by_classes.grid();
    let tested = by_classes
        .counts()
        .partial
        .saturating_mul(q_block.min(&grid.q_len).saturating_mul(*kv_block.min(&grid.kv_len)) as u64);
    let exact = tested <= AFFORDABLE;
    let mask = if exact { by_classes.with_bits(test)? } else { by_classes.clone() };
    let shown = match question.head {
        Some(head) => head..head + 1,
        None => 0..grid.heads,
    };
    let samples = SAMPLES / shown.len().max(1);
    let list = |head: usize| -> Result<List> {
        let one = mask.list(0, head)?;
        let visible = one.visible_share_of_bits();
        let visible =
            visible.unwrap_or_else(|| one.visible_density(samples, &mut |b, _, q, k| test(b, head, q, k)));
        Ok(List { batch: 0, head, counts: one.counts(), visited: one.density(), visible })
    };
    let lists = shown.map(list).collect::<Result<_>>()?;
    let elements_took = start.elapsed();
    let by_classes = by_classes.counts();
    Ok(Answer { mask, by_classes, exact, classes_took, elements_took, lists })
}

fn total(lists: &[List]) -> Counts {
    let sum = |of: fn(&Counts) -> u64| lists.iter().map(|list| of(&list.counts)).sum();
    Counts { full: sum(|c| c.full), partial: sum(|c| c.partial), empty: sum(|c| c.empty) }
}

#[expect(clippy::cast_precision_loss, reason = "a number of heads")]
fn mean(lists: &[List], of: impl Fn(&List) -> f64) -> f64 {
    lists.iter().map(of).sum::<f64>() / lists.len().max(1) as f64
}

fn picture(question: &Question, answer: &Answer, test: &ElementTest<'_>) -> image::RgbImage {
    let shown = answer.lists.get(..MAX_PANELS.min(answer.lists.len())).unwrap_or_default();
    let visible: Vec<_> = shown
        .iter()
        .map(|list| move |q: usize, k: usize| answer.mask.is_visible(list.batch, list.head, q, k, test))
        .collect();
    let panels: Vec<Panel<'_>> = shown
        .iter()
        .zip(&visible)
        .map(|(list, visible)| Panel {
            label: format!("head {}: {} visible", list.head, ui::percent(list.visible)),
            batch: list.batch,
            head: list.head,
            visible,
        })
        .collect();
    let Sizes { q_len, kv_len, q_heads, .. } = question.sizes;
    let [q_block, kv_block] = question.block;
    let of = match (answer.mask.heads() > 1, shown.len()) {
        (true, 1) => format!("head {} of {q_heads}, ", shown.first().map_or(0, |list| list.head)),
        (true, some) if some < answer.lists.len() => format!("heads 0 to {} of {q_heads}, ", some - 1),
        _ => String::new(),
    };
    let about = if answer.exact { "" } else { "about " };
    let visible = ui::percent(mean(&answer.lists, |list| list.visible));
    let line = format!(
        "{of}{} x {}, blocks of {q_block} x {kv_block}; {about}{visible} visible",
        plural(q_len, "query", "queries"),
        plural(kv_len, "key", "keys")
    );
    draw(&question.expression.to_string(), &line, &answer.mask, &panels, total(&answer.lists))
}

fn report(
    question: &Question,
    answer: &Answer,
    map: Option<&(String, Option<String>)>,
    png: Option<&Path>,
    ui: Ui,
) {
    let Sizes { batch, q_heads, kv_heads, q_len, kv_len } = question.sizes;
    let [q_block, kv_block] = question.block;
    let grid = answer.mask.grid();
    let Counts { full, partial, empty } = total(&answer.lists);
    let all = full + partial + empty;
    let (visited, visible) =
        (mean(&answer.lists, |list| list.visited), mean(&answer.lists, |list| list.visible));
    let about = if answer.exact { "" } else { "about " };

    ui.line(format!("{}\n", question.expression));
    if let Some((blocks, elements)) = map {
        if answer.mask.heads() > 1 {
            ui.line(format!("head {}", answer.lists.first().map_or(0, |list| list.head)));
        }
        ui.line(blocks.trim_end());
        if let Some(elements) = elements {
            ui.line(format!("\n{}\na character is a query and a key", elements.trim_end()));
        }
    }
    let whose = |own: bool, count: usize, what: &str| match (own, count) {
        (_, 1) => String::new(),
        (true, count) => format!(", {count} {what} with lists of their own"),
        (false, count) => format!(", {count} {what} that share them"),
    };
    let heads = whose(grid.heads > 1, q_heads, "heads") + &whose(grid.batch > 1, batch, "batch entries");
    ui.line(format!(
        "\n  sizes     {} x {} in {} x {} blocks of {q_block} x {kv_block}{heads}",
        plural(q_len, "query", "queries"),
        plural(kv_len, "key", "keys"),
        grid.q_blocks(),
        grid.kv_blocks()
    ));
    for (name, count, meaning) in [
        ("full", full, "taken whole"),
        ("partial", partial, "tested element by element"),
        ("empty", empty, "skipped"),
    ] {
        ui.line(format!("  {name:<9} {count} of {all} blocks, {}: {meaning}", share(count, all)));
    }
    ui.line(format!(
        "  elements  {about}{} visible, {} in blocks that are visited",
        ui::percent(visible),
        ui::percent(visited)
    ));
    let open = answer.by_classes.partial.saturating_sub(answer.mask.counts().partial);
    if answer.exact && open > 0 {
        ui.line(format!(
            "  note      {open} blocks took a look at their elements to be known as full or empty"
        ));
    } else if !answer.exact {
        ui.line("  note      partial blocks are too many to look at each element: some may be full or empty");
    }
    if grid.batch > 1 {
        ui.line("  note      shown is batch entry 0");
    }
    let elements_took = if answer.exact { "every element" } else { "a sample of elements" };
    ui.line(format!(
        "  time      {} for the classes, {} to look at {elements_took} of partial blocks",
        ui::time(answer.classes_took),
        ui::time(answer.elements_took)
    ));
    if let Some(path) = png {
        ui.line(format!("  picture   {}", path.display()));
    }
    if answer.lists.len() > 1 {
        ui.line(format!("\n{}", per_head(answer)));
    }
    let count =
        |counts: &Counts| json!({"full": counts.full, "partial": counts.partial, "empty": counts.empty});
    let lists: Vec<Value> = answer
        .lists
        .iter()
        .map(|list| {
            json!({
                "batch": list.batch, "head": list.head, "blocks": count(&list.counts),
                "visited": list.visited, "visible": list.visible,
            })
        })
        .collect();
    ui.document(&json!({
        "mask": question.expression.to_string(),
        "sizes": {"batch": batch, "heads": q_heads, "kv_heads": kv_heads, "q": q_len, "k": kv_len},
        "block": [q_block, kv_block],
        "per_batch": grid.batch > 1,
        "per_head": grid.heads > 1,
        "blocks": count(&Counts { full, partial, empty }),
        "blocks_by_classes": count(&answer.by_classes),
        "visited": visited,
        "visible": visible,
        "exact": answer.exact,
        "lists": lists,
        "classes_us": answer.classes_took.as_secs_f64() * 1e6,
        "elements_us": answer.elements_took.as_secs_f64() * 1e6,
        "map": map.map(|(blocks, _)| blocks.lines().collect::<Vec<_>>()),
        "png": png.map(|path| path.display().to_string()),
    }));
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn per_head(answer: &Answer) -> String {
    let rows: Vec<Vec<String>> = answer
        .lists
        .iter()
        .map(|List { head, counts, visited, visible, .. }| {
            let mut row: Vec<String> = [*head as u64, counts.full, counts.partial, counts.empty]
                .iter()
                .map(u64::to_string)
                .collect();
            row.extend([*visited, *visible].map(ui::percent));
            row
        })
        .collect();
    ui::table(&["head", "full", "partial", "empty", "visited", "visible"], &rows, 0..6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_one_number_or_two() {
        assert_eq!(parse_block("64").unwrap(), [64, 64]);
        assert_eq!(parse_block("32x128").unwrap(), [32, 128]);
        for wrong in ["", "0", "x", "8x", "-3", "8x0", "4x4x4", "99999999999"] {
            assert!(parse_block(wrong).unwrap_err().to_string().contains("--block"), "{wrong}");
        }
    }
}
