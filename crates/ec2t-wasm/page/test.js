// Behind the page's own scripts, in a copy of the page that `cargo xtask wasm --test` serves:
// drops files on it, and sends what it shows to where it comes from.
//
// MODELS is an object of base64 by name; faults has errors since before the page began.
(async () => {
  const answer = { cases: [], complaint: "", faults };
  const drop = (name, parts) => take(new File(parts, name));
  const shown = () => ({
    top: Array.from(document.querySelectorAll("#guesses .name"), (name) => name.textContent),
    logits: Array.from(new Uint32Array(model.logits(pixels).buffer)),
    milliseconds: milliseconds(),
    complaint: element("error").textContent,
  });
  try {
    await ready;
    answer.cases.push(shown());
    for (const [name, file] of Object.entries(MODELS)) {
      await drop(name, [bytes(file)]);
      answer.cases.push(shown());
    }
    await drop("bad.ec2t", ["GIF89a"]);
    answer.complaint = element("error").textContent;
  } catch (error) {
    faults.push(String(error));
  }
  await fetch("/answer", { method: "POST", body: JSON.stringify(answer) });
})();
