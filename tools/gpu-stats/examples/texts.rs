use foveal_kernels::*;
fn main(){
 let a: Vec<String>=std::env::args().collect();
 let mut p=AdapterProfile::webgpu_floor(); p.kind=AdapterKind::Discrete; p.rates=Rates::assumed(p.kind);
 p.limits.max_compute_workgroup_storage_size=65536;p.limits.max_buffer_size=1<<32;p.limits.max_storage_buffer_binding_size=1<<31;
 p.features.subgroups=Some(if a[1]=="vega10" {(64,64)} else {(32,64)}); p.features.f16=true;
 let lib = if a.len()>5 { let t=std::fs::read_to_string(&a[5]).unwrap(); let t: &'static str=Box::leak(t.into_boxed_str()); foveal_shaders::Library::builtin().with_modules(&[("attention/tiledx",t)]).unwrap() } else { foveal_shaders::Library::builtin().clone() };
 let op=operators()[0];
 let pr=op.problem_of_shape(&a[2],&serde_json::from_str(&a[4]).unwrap()).unwrap();
 let plan=pr.plan(&p,&Constraints::variant(&a[3])).unwrap();
 let r=plan.requests(); let mut q=(*r[0].as_ref()).clone(); if a.len()>5 {q.module="attention/tiledx".into();}
 eprintln!("{:?}",q.tunables);
 println!("{}",lib.specialise(&q).unwrap().text);
}
