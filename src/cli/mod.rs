//! stub
use std::process::ExitCode;
pub fn main() -> ExitCode {
    let a: Vec<String> = std::env::args().collect();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let rt = tokio::runtime::Runtime::new().unwrap();
    let root = a
        .iter()
        .position(|x| x == "--root")
        .map(|i| a[i + 1].clone().into());
    let listen = a
        .iter()
        .position(|x| x == "--listen")
        .map(|i| a[i + 1].parse().unwrap())
        .into_iter()
        .collect();
    match rt.block_on(crate::server::serve(crate::server::Config { root, listen })) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
