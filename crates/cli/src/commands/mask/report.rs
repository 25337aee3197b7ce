//! The answer as text and as JSON.

use std::path::Path;

use foveal_kernels::block_mask::Counts;
use foveal_kernels::expr::Sizes;
use serde_json::{Value, json};

use super::answer::{Answer, List, Question, mean, plural, total};
use crate::picture::mask::share;
use crate::ui::{self, Ui};

pub(super) fn report(
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
