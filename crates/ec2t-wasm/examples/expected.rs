//! What the page has to answer, computed here: `expected PICTURE FILE…` prints as JSON the
//! decoded picture, and for the model of the page and each file the names of its most
//! probable classes, and logits as bits. `cargo xtask wasm --test` compares.
#![allow(clippy::print_stdout)]

use std::error::Error;

use ec2t_wasm::Classifier;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [picture, files @ ..] = files.as_slice() else { return Err("no picture".into()) };
    let picture = image::open(picture)?.into_rgba8();
    let [height, width] = [picture.height(), picture.width()];
    let picture = picture.into_raw();
    let answer = |classifier: Classifier| -> Result<Value, Box<dyn Error>> {
        answer(&classifier, &classifier.pixels(picture.clone(), [height, width])?)
    };
    let mut cases = vec![answer(Classifier::builtin("cifar10")?)?];
    for file in files {
        cases.push(answer(Classifier::new(&std::fs::read(file)?)?)?);
    }
    println!("{}", json!({ "width": width, "height": height, "rgba": picture, "cases": cases }));
    Ok(())
}

fn answer(classifier: &Classifier, pixels: &[u8]) -> Result<Value, Box<dyn Error>> {
    let name = |class: usize, name: Option<String>| name.unwrap_or(format!("class {class}"));
    let top = classifier.classify(pixels, 5)?.into_iter();
    let top: Vec<String> = top.map(|guess| name(guess.class, guess.name)).collect();
    let logits: Vec<u32> = classifier.logits(pixels)?.iter().map(|x| x.to_bits()).collect();
    Ok(json!({ "top": top, "logits": logits }))
}
