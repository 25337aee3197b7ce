//! Promises of the commands, without an adapter where that is possible.

mod common;

use common::{Place, foveal, foveal_on_adapter, has_adapter, tensor, values, words};

/// The sample that ships with the program.
fn sample() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/sample.safetensors"))
}

/// Attention from the definition, written once more for this test.
fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    heads: usize,
    queries: usize,
    keys: usize,
    width: usize,
) -> Vec<f64> {
    let at = |data: &[f32], head: usize, length: usize, position: usize, i: usize| {
        f64::from(data[(head * length + position) * width + i])
    };
    let mut o = Vec::new();
    for head in 0..heads {
        for query in 0..queries {
            let score = |key: usize| {
                let dot: f64 =
                    (0..width).map(|i| at(q, head, queries, query, i) * at(k, head, keys, key, i)).sum();
                (dot / (width as f64).sqrt()).exp()
            };
            let total: f64 = (0..keys).map(score).sum();
            o.extend(
                (0..width).map(|i| {
                    (0..keys).map(|key| score(key) / total * at(v, head, keys, key, i)).sum::<f64>()
                }),
            );
        }
    }
    o
}

#[test]
fn run_computes_attention() {
    let place = Place::new();
    let (input, output) = (place.attention(), place.path("out.safetensors"));
    let line = words(&[
        &"run",
        &"attention",
        &"--device",
        &"cpu",
        &"--input",
        &input,
        &"--output",
        &output,
        &"--check",
    ]);
    let ran = foveal(&line);
    assert_eq!(ran.code, 0, "{ran:?}");
    let (shape, o) = tensor(&output, "o");
    assert_eq!(shape, [1, 2, 5, 4]);
    let expected = attention(&values("q", 40), &values("k", 56), &values("v", 56), 2, 5, 7, 4);
    for (got, expected) in o.iter().zip(expected) {
        assert!((f64::from(*got) - expected).abs() < 1e-6, "{got} {expected}");
    }
    assert_eq!(tensor(&output, "lse").0, [1, 2, 5], "lse is written too");
    assert_eq!(place.names(), ["in.safetensors", "out.safetensors"], "nothing else is left");
}

#[test]
fn run_falls_back_to_the_reference_and_says_so() {
    let place = Place::new();
    let (input, output) = (place.attention(), place.path("out.safetensors"));
    let ran = foveal(&words(&[&"run", &"attention", &"--json", &"--input", &input, &"--output", &output]));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.starts_with("warning: no adapter"), "{ran:?}");
    assert_eq!(ran.json()["adapter"], "cpu");
}

#[test]
fn run_writes_the_same_bytes_every_time_and_to_npy_the_same_values() {
    let place = Place::new();
    let input = place.attention();
    let outputs = [place.path("a.safetensors"), place.path("b.safetensors"), place.path("c")];
    for output in &outputs {
        let line =
            words(&[&"run", &"attention", &"--device", &"cpu", &"--input", &input, &"--output", output]);
        assert_eq!(foveal(&line).code, 0);
    }
    assert_eq!(std::fs::read(&outputs[0]).unwrap(), std::fs::read(&outputs[1]).unwrap());
    let npy = std::fs::read(outputs[2].join("o.npy")).unwrap();
    let stored: Vec<f32> =
        npy[npy.len() - 160..].as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    assert_eq!(stored, tensor(&outputs[0], "o").1);
}

#[test]
fn a_directory_of_npy_is_read_like_a_file() {
    let place = Place::new();
    let directory = place.path("npy");
    std::fs::create_dir(&directory).unwrap();
    for (name, shape) in [("q", "1, 2, 5, 4"), ("k", "1, 2, 7, 4"), ("v", "1, 2, 7, 4")] {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n");
        let count = if name == "q" { 40 } else { 56 };
        let mut npy = b"\x93NUMPY\x01\x00".to_vec();
        npy.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        npy.extend(header.as_bytes());
        npy.extend(values(name, count).iter().flat_map(|value| value.to_le_bytes()));
        std::fs::write(directory.join(format!("{name}.npy")), npy).unwrap();
    }
    let (one, two) = (place.path("one.safetensors"), place.path("two.safetensors"));
    for (input, output) in [(&directory, &one), (&place.attention(), &two)] {
        let line =
            words(&[&"run", &"attention", &"--device", &"cpu", &"--input", input, &"--output", output]);
        assert_eq!(foveal(&line).code, 0);
    }
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
}

#[test]
fn a_files_options_are_used_and_overridden() {
    let place = Place::new();
    let tensors: &[(&str, &[usize])] = &[("q", &[1, 1, 3, 4]), ("k", &[1, 1, 3, 4]), ("v", &[1, 1, 3, 4])];
    let input = place.file("in.safetensors", tensors, Some(r#"{"op":"attention","mask":"causal"}"#));
    let output = place.path("out.safetensors");
    let first_row = |more: &[&str]| {
        let mut line = words(&[&"run", &"--device", &"cpu", &"--input", &input, &"--output", &output]);
        line.extend(more.iter().map(|word| (*word).to_owned()));
        assert_eq!(foveal(&line).code, 0);
        tensor(&output, "o").1[..4].to_vec()
    };
    let v = values("v", 12)[..4].to_vec();
    assert_eq!(first_row(&[]), v, "the first query sees the first key only");
    assert_ne!(first_row(&["--mask", "none"]), v);
}

#[test]
fn no_queries_give_an_empty_result() {
    let place = Place::new();
    let tensors: &[(&str, &[usize])] = &[("q", &[1, 2, 0, 4]), ("k", &[1, 2, 3, 4]), ("v", &[1, 2, 3, 4])];
    let input = place.file("in.safetensors", tensors, None);
    let output = place.path("out.safetensors");
    let line = words(&[&"run", &"attention", &"--check", &"--input", &input, &"--output", &output]);
    let both = [Some(foveal(&line)), has_adapter().then(|| foveal_on_adapter(&line))];
    for ran in both.into_iter().flatten() {
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(tensor(&output, "o"), (vec![1, 2, 0, 4], Vec::new()));
    }
}

#[test]
fn values_that_are_not_finite_are_counted_and_the_rest_is_checked() {
    let place = Place::new();
    let mut q = values("q", 8);
    q[0] = f32::NAN;
    q[1] = f32::INFINITY;
    let input = place.file_of(
        "in.safetensors",
        &[
            ("q", &[1, 1, 2, 4], q),
            ("k", &[1, 1, 3, 4], values("k", 12)),
            ("v", &[1, 1, 3, 4], values("v", 12)),
        ],
        None,
    );
    let output = place.path("out.safetensors");
    let line = words(&[
        &"run",
        &"attention",
        &"--device",
        &"cpu",
        &"--check",
        &"--input",
        &input,
        &"--output",
        &output,
    ]);
    let ran = foveal(&line);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("q holds 1 NaN, 1 infinite"), "{ran:?}");
    assert!(ran.out.contains("values are NaN, as the reference says"), "{ran:?}");
}

#[test]
fn inputs_are_converted() {
    let place = Place::new();
    let (input, output) = (place.attention(), place.path("out.safetensors"));
    for dtype in ["f16", "bf16"] {
        let line = words(&[
            &"run",
            &"attention",
            &"--json",
            &"--device",
            &"cpu",
            &"--dtype",
            &dtype,
            &"--input",
            &input,
            &"--output",
            &output,
        ]);
        let document = foveal(&line).json();
        assert_eq!(document["inputs"]["q"]["dtype"], dtype);
        assert_eq!(document["outputs"]["o"]["dtype"], dtype);
    }
}

#[test]
fn golden_files_check_the_reference_without_an_adapter() {
    let ran = foveal(&words(&[&"check", &"--device", &"cpu", &"--json", &"--golden", &sample()]));
    assert_eq!(ran.code, 0, "{ran:?}");
    let document = ran.json();
    assert_eq!((&document["passed"], &document["failed"]), (&1.into(), &0.into()));
    assert!(document["cases"][0]["rel_rmse"].as_f64().is_some_and(|error| error < 1e-7));
    for key in ["name", "status", "rel_rmse", "worst", "repro"] {
        assert!(document["cases"][0].get(key).is_some(), "{key}");
    }
}

#[test]
fn golden_files_pass_fail_or_are_skipped_with_a_reason() {
    let place = Place::new();
    let four: &[usize] = &[1, 1, 2, 4];
    let all: &[(&str, &[usize])] = &[("q", four), ("k", four), ("v", four), ("o", four)];
    let inputs = &all[..3];
    place.file("a_no_entry.safetensors", all, None);
    place.file("b_unknown_operator.safetensors", all, Some(r#"{"op":"nonesuch"}"#));
    place.file("c_no_sinks.safetensors", all, Some(r#"{"op":"attention","sink_logits":"sinks"}"#));
    place.file("d_no_output.safetensors", inputs, Some(r#"{"op":"attention"}"#));
    place.file("e_wrong.safetensors", all, Some(r#"{"op":"attention"}"#));
    std::fs::write(place.path("f_damaged.safetensors"), [1, 2, 3]).unwrap();
    std::fs::copy(sample(), place.path("g_right.safetensors")).unwrap();
    // Of a later version.
    place.file("h_unknown_option.safetensors", all, Some(r#"{"op":"attention","tomorrow":"x"}"#));
    place.file("i_unknown_word.safetensors", all, Some(r#"{"op":"attention","layout":"dhtb"}"#));
    let directory = place.path("");
    let ran = foveal(&words(&[&"check", &"--device", &"cpu", &"--json", &"--golden", &directory]));
    assert_eq!(ran.code, 1, "{ran:?}");
    let document = ran.json();
    let of = |key: &str| -> Vec<String> {
        let cases = document["cases"].as_array().unwrap();
        cases.iter().map(|case| case[key].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(
        of("status"),
        ["skipped", "skipped", "failed", "skipped", "failed", "failed", "passed", "skipped", "skipped"]
    );
    let reasons = of("reason");
    assert!(reasons[7].contains("tomorrow") && reasons[8].contains("dhtb"), "{reasons:?}");
    assert!(
        reasons[0].contains("no `foveal` header entry") && reasons[1].contains("nonesuch"),
        "{reasons:?}"
    );
    assert!(reasons[2].contains("sinks") && reasons[3].contains("no stored output"), "{reasons:?}");
    assert!(of("repro")[4].contains("--golden") && of("repro")[4].contains("e_wrong"));
}

#[test]
#[expect(clippy::cast_possible_truncation, reason = "an index")]
fn plans_need_no_adapter() {
    for more in [&[][..], &["--limits", "floor"]] {
        let line: Vec<&str> = ["plan", "attention", "--shape", "1x8x1024x64", "--wgsl", "--json"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        let document = foveal(&line).json();
        assert_eq!(document["variant"], "tiled", "{document}");
        assert!(document["wgsl"][0]["text"].as_str().is_some_and(|text| text.contains("@compute")));
        // All that another implementation of WebGPU needs.
        let pass = &document["passes"][0];
        let text = pass["wgsl"].as_u64().and_then(|index| document["wgsl"][index as usize]["text"].as_str());
        let bindings =
            pass["bindings"].as_array().unwrap().iter().chain(pass["uniforms"].as_array().unwrap());
        let mut declared = 0;
        for binding in bindings {
            let at = format!("@group({}) @binding({})", binding["at"][0], binding["at"][1]);
            assert!(text.is_some_and(|text| text.contains(&at)), "{at}: {pass}");
            declared += 1;
        }
        assert_eq!(text.map(|text| text.matches("@binding(").count()), Some(declared), "{pass}");
        let lengths = pass["uniforms"][0]["words"].as_array().unwrap();
        assert_eq!(
            (&lengths[0], &lengths[1]),
            (&1024.into(), &1024.into()),
            "q_len and kv_len come first: {pass}"
        );
    }
    let text = foveal(&["plan", "attention", "--shape", "1x8x1024x64"]);
    assert!(text.out.contains("variant tiled") && text.out.contains("planned"), "{text:?}");
    assert_eq!(foveal(&words(&[&"plan", &"--input", &sample(), &"--limits", &"floor"])).code, 0);
}

#[test]
fn list_says_what_there_is() {
    let document = foveal(&["list", "--json"]).json();
    assert_eq!(document["operators"][0]["name"], "attention");
    assert!(document["operators"][0]["variants"].as_array().is_some_and(|variants| variants.len() >= 3));
    assert!(foveal(&["list"]).out.contains("--mask"));
}

#[test]
fn the_demo_works_without_an_adapter_and_draws() {
    let place = Place::new();
    let png = place.path("demo.png");
    let ran = foveal(&words(&[&"demo", &"--png", &png]));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("mesa-vulkan-drivers") && ran.out.contains("demo.png"), "{ran:?}");
    let bytes = std::fs::read(&png).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    assert_eq!(foveal(&words(&[&"demo", &"--json", &"--png", &png])).json()["passed"], true);
    assert_eq!(std::fs::read(&png).unwrap(), bytes, "the picture is the same every time");
}

#[test]
fn every_variant_is_checked_on_an_adapter() {
    if !has_adapter() {
        return;
    }
    let ran = foveal_on_adapter(&["check", "attention", "--random", "1", "--seed", "3", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let document = ran.json();
    assert_eq!(document["passed"], 1);
    assert_eq!(document["cases"][0]["repro"], "foveal check attention --random 1 --seed 3");
}

#[test]
fn bench_prints_its_document() {
    if !has_adapter() {
        return;
    }
    let ran =
        foveal_on_adapter(&["bench", "attention", "--shape", "1x2x64x32", "--against", "naive", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let document = ran.json();
    let rows = document["results"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let mut keys: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected =
        "checked density dtype gbps gflops median_ms op p10_ms p90_ms roofline_share shape variant";
    assert_eq!(keys.join(" "), expected);
    assert_eq!(rows[1]["variant"], "naive");
    assert_eq!(rows[0]["checked"], true);
}

#[test]
#[cfg(target_os = "linux")]
fn a_pipe_in_place_of_a_cached_file_is_ignored_and_replaced() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    if !has_adapter() {
        return;
    }
    let place = Place::new();
    let (input, output) = (place.attention(), place.path("o.safetensors"));
    let cache = place.path("cache/foveal");
    let ran = || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_foveal"))
            .args(words(&[&"run", &"attention", &"--input", &input, &"--output", &output]))
            .env("XDG_CACHE_HOME", place.path("cache"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(120) {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(child.wait().unwrap().success(), "it waited for a writer");
    };
    let files = || -> Vec<std::path::PathBuf> {
        std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    ran();
    assert!(!files().is_empty());
    for path in files() {
        std::fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    }
    ran();
    assert!(files().iter().any(|path| path.is_file()), "written anew");
}
