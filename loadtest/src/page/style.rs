//! How the page looks: light and dark, wide and narrow.

/// Colours, of which each has 4.5 times the paper's contrast in either scheme, so that text may have them, too. Plots that stand alone have them as well.
pub(super) const COLOURS: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #545d68; --paper: #fff; --faint: #d8dde3;
  --c0: #0b62c4; --c1: #c2410c; --c2: #15803d; --c3: #7e22ce; --c4: #8a5a00; --c5: #be185d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --quiet: #a3adb8; --paper: #14171a; --faint: #3a4149;
  --c0: #66b0ff; --c1: #ff9a62; --c2: #5fd28a; --c3: #c99bff; --c4: #e5c158; --c5: #ff8fc0; } }
svg { background: var(--paper); font-family: system-ui, sans-serif; } svg text { fill: var(--ink); font-size: 13px; }
svg .head { font-weight: 600; } svg .over { stroke: var(--paper); stroke-width: 4px; paint-order: stroke; }
.grid { stroke: var(--faint); } polyline, svg path { fill: none; stroke-width: 2; } .grid { stroke-width: 1 !important; }
.dashed { stroke-dasharray: 6 4; } .floor { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 2 3; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); }
.c3 { stroke: var(--c3); } .c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); }
.f0 { fill: var(--c0); } .f1 { fill: var(--c1); } .f2 { fill: var(--c2); }
.f3 { fill: var(--c3); } .f4 { fill: var(--c4); } .f5 { fill: var(--c5); }
";

/// The rest of the page.
pub(super) const STYLE: &str = "
body { margin: 0 auto; padding: 1rem; max-width: 62rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  overflow-wrap: anywhere; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; } h3 { margin-bottom: .3rem; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--faint); text-align: right; white-space: nowrap; }
th { vertical-align: bottom; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
td:first-child { white-space: normal; min-width: 9rem; }
.facts td { text-align: left; white-space: normal; } .facts td:first-child { min-width: 7rem; vertical-align: top; }
small, .quiet { color: var(--quiet); font-size: .82em; }
.times { display: inline-block; min-width: 3.4em; text-align: left; } .spread { display: block; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem 2rem; }
figure { margin: 0; min-width: 0; } figcaption { font-weight: 600; }
svg { display: block; width: 100%; max-width: 40rem; height: auto; }
pre { overflow-x: auto; font-size: 13px; } pre.wrapped { white-space: pre-wrap; }
.bad { color: var(--c1); font-weight: 600; }
@media (max-width: 40rem) {
  .compared { font-size: .8rem; } .compared th, .compared td { padding: .2rem .3rem; white-space: normal; overflow-wrap: normal; }
  .compared td:first-child { min-width: 4.2rem; padding-left: 0; } .compared td:first-child small { display: none; }
  .compared .times { display: block; min-width: 0; text-align: right; }
}
";
