//! The page as Chromium lays it out: what only a browser can tell.
//!
//! Skipped, with a line that says so, where there is no `chromium`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::tests::{run_up_to, whole_run};
use super::write;

/// Looks at the page that it is part of, and leaves what it finds in an element.
const PROBE: &str = r#"<script>
const faults = [];
const name = (e) => `${e.tagName} ${e.getAttribute('class') ?? ''} "${e.textContent.slice(0, 40)}"`;
for (const figure of document.querySelectorAll('figure')) {
  const marks = [...figure.querySelectorAll('path, circle, rect:not(.panel, .hint), td, img')];
  const seen = marks.filter((mark) => {
    const box = mark.getBoundingClientRect();
    return box.width > 0 || box.height > 0;
  });
  if (seen.length === 0) faults.push(`empty: ${name(figure)}`);
}
for (const chart of document.querySelectorAll('svg.chart')) {
  const outer = chart.getBoundingClientRect();
  for (const mark of chart.querySelectorAll('text, path, circle, line, rect')) {
    const box = mark.getBoundingClientRect();
    const inside = box.left >= outer.left - 1 && box.right <= outer.right + 1
      && box.top >= outer.top - 1 && box.bottom <= outer.bottom + 1;
    if (!inside) faults.push(`outside of its chart: ${name(mark)}`);
  }
}
for (const image of document.querySelectorAll('img')) {
  if (image.naturalWidth === 0) faults.push(`no picture: ${name(image)}`);
  const how = getComputedStyle(image).imageRendering;
  if (how !== 'pixelated') faults.push(`${how}: ${name(image)}`);
}
const width = document.documentElement.clientWidth;
for (const element of document.querySelectorAll('main *')) {
  const box = element.getBoundingClientRect();
  const scrolls = element.parentElement.closest('.wide') !== null;
  if (!scrolls && box.right > width + 1) faults.push(`wider than the page: ${name(element)}`);
}
const found = document.createElement('pre');
found.id = 'probe';
found.textContent = JSON.stringify({ faults, figures: document.querySelectorAll('figure').length,
  pictures: document.querySelectorAll('img').length });
document.body.append(found);
</script>"#;

/// Windows as wide as a desktop's and the narrowest that Chromium has without a screen.
const WIDTHS: [u32; 2] = [1200, 500];

/// Chromium on a page, with a window of this width; none where it is not installed.
fn chromium(page: &Path, width: u32, arguments: &[&str]) -> Option<Output> {
    let profile = tempfile::tempdir().unwrap();
    let command = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},5000"))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output();
    command.ok().filter(|output| output.status.success())
}

/// Lays the page out with the probe in it.
fn probe(page: &Path, width: u32) -> Option<Value> {
    let output = chromium(page, width, &["--dump-dom"])?;
    let (dom, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!log.contains("CONSOLE"), "{log}");
    let found =
        dom.split_once("<pre id=\"probe\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (json, _) = found.unwrap_or_else(|| panic!("the probe has not run: {log}"));
    let json = json.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    Some(serde_json::from_str(&json.replace("&amp;", "&")).unwrap())
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn nothing_is_empty_or_cut_off() {
    let runs = [(whole_run(), 24), (run_up_to(0), 0), (run_up_to(3), 0)];
    for (folder, pictures) in &runs {
        write(folder.path(), None, "abc1234").unwrap();
        let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
        let probed = folder.path().join("probed.html");
        fs::write(&probed, page.replace("</body>", &format!("{PROBE}</body>"))).unwrap();
        for width in WIDTHS {
            let Some(found) = probe(&probed, width) else {
                println!("skipped: there is no chromium that runs");
                return;
            };
            assert_eq!(found["faults"], serde_json::json!([]), "{width} pixels wide");
            assert_eq!(found["pictures"], *pictures, "{width} pixels wide");
            assert_eq!(found["figures"], page.matches("<figure>").count());
        }
    }
    let folder = &runs[0].0;
    let report = folder.path().join("report.html");
    let picture = folder.path().join("report.png");
    chromium(&report, 1200, &[&format!("--screenshot={}", picture.display())]).unwrap();
    let pixels = image::open(&picture).unwrap().into_rgb8();
    let paper = *pixels.get_pixel(0, 0);
    let ink = pixels.pixels().filter(|pixel| **pixel != paper).count();
    let share = ink as f64 / pixels.pixels().count() as f64;
    assert!((0.02..0.8).contains(&share), "{share} of the page is drawn");
}
