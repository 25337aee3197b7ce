use foveal_shaders::{Library, Request};
fn main() {
    let mut r = Request::new(std::env::args().nth(1).unwrap());
    for a in std::env::args().skip(2) {
        if a == "rolled" {
            r = r.unroll(false);
            continue;
        }
        if let Some((f, t)) = a.split_once("->") {
            r = r.replace(f, t);
            continue;
        }
        let (k, v) = a.split_once('=').unwrap();
        r = match v.parse::<u32>() {
            Ok(v) => r.tunable(k, v),
            _ => r.tunable(k, v == "true"),
        };
    }
    let t = std::time::Instant::now();
    let s = match Library::builtin().specialise(&r) {
        Ok(s) => s,
        Err(e) => {
            eprintln!("{e}");
            std::process::exit(1)
        }
    };
    let cold = t.elapsed();
    let t = std::time::Instant::now();
    for _ in 0..20 {
        std::hint::black_box(Library::builtin().specialise(&r).unwrap());
    }
    println!("{}", s.text);
    eprintln!(
        "{:#?}\n{:?}\ncold {cold:?} warm {:?} lines {}",
        s.interface,
        s.arrays_left,
        t.elapsed() / 20,
        s.text.lines().count()
    );
}
