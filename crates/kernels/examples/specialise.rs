//! Prints the specialised text of a variant: `cargo run --example specialise -- 1x8x1024x64 broadcast 8`.
#![expect(clippy::unwrap_used, reason = "an example")]
use foveal_kernels::*;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut adapter = AdapterProfile::webgpu_floor();
    if let Some(width) = args.get(3).and_then(|x| x.parse().ok()) {
        adapter.kind = AdapterKind::Cpu;
        adapter.features.subgroups = Some((width, width));
    }
    let start = std::time::Instant::now();
    let problem = operator("attention").unwrap().problem_of_shape(&args[1], &serde_json::from_str(args.get(4).map_or("{}", String::as_str)).unwrap()).unwrap();
    let plan = problem.plan(&adapter, &Constraints::variant(&args[2])).unwrap();
    eprintln!("{plan}planned in {:?}", start.elapsed());
    for request in plan.requests() {
        for _ in 0..3 {
            let start = std::time::Instant::now();
            let done = foveal_shaders::Library::builtin().specialise(request).unwrap();
            eprintln!("specialised in {:?}, {} bytes, arrays left {:?} {:?}", start.elapsed(), done.text.len(), done.arrays_left, done.interface);
        }
        println!("{}", foveal_shaders::Library::builtin().specialise(request).unwrap().text);
    }
}
