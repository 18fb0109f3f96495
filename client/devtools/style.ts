/** The panel's style. Inside a shadow root: the app's style does not reach it, nor this one the app. */
export const style = `
:host {
  all: initial;
  --back: #ffffff; --ink: #17201e; --soft: #5b6864; --line: #dfe3e0; --hover: #f1f4f2; --accent: #0b6b5d;
  --good: #1a8f5f; --busy: #b7791f; --bad: #c0392b;
  color-scheme: light;
}
@media (prefers-color-scheme: dark) {
  :host(:not([data-theme='light'])) {
    --back: #161c1f; --ink: #e6ebe9; --soft: #93a19c; --line: #2b3438; --hover: #1f272b; --accent: #63c5b2;
    --good: #4cc38a; --busy: #e0b050; --bad: #f0776a;
    color-scheme: dark;
  }
}
:host([data-theme='dark']) {
  --back: #161c1f; --ink: #e6ebe9; --soft: #93a19c; --line: #2b3438; --hover: #1f272b; --accent: #63c5b2;
  --good: #4cc38a; --busy: #e0b050; --bad: #f0776a;
  color-scheme: dark;
}
* { box-sizing: border-box; }
.root {
  position: fixed; z-index: 2147483000; right: 12px; bottom: 12px;
  font: 12px/1.45 ui-sans-serif, system-ui, sans-serif; color: var(--ink);
  max-width: calc(100vw - 24px);
}
button {
  font: inherit; color: inherit; background: var(--back); border: 1px solid var(--line); border-radius: 6px;
  padding: 4px 9px; cursor: pointer;
}
button:hover { background: var(--hover); }
button:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
button[aria-pressed='true'] { background: var(--accent); border-color: var(--accent); color: var(--back); }
.pill {
  display: flex; align-items: center; gap: 7px; margin-left: auto; border-radius: 99px; padding: 5px 12px;
  box-shadow: 0 2px 10px rgb(0 0 0 / 14%); font-variant-numeric: tabular-nums;
}
.dot { width: 8px; height: 8px; border-radius: 50%; background: var(--soft); flex: none; }
.dot[data-status='live'] { background: var(--good); }
.dot[data-status='connecting'], .dot[data-status='authenticating'], .dot[data-status='syncing'] {
  background: var(--busy);
}
.dot[data-status='refused'] { background: var(--bad); }
.panel {
  width: min(640px, calc(100vw - 24px)); margin-bottom: 8px; background: var(--back); border: 1px solid var(--line);
  border-radius: 10px; box-shadow: 0 8px 32px rgb(0 0 0 / 22%); overflow: hidden;
}
.panel[hidden] { display: none; }
header { display: flex; align-items: center; gap: 8px; padding: 8px 10px; border-bottom: 1px solid var(--line); }
header strong { font-weight: 600; margin-right: auto; }
.facts { margin: 0; padding: 8px 10px; color: var(--soft); overflow-wrap: anywhere; }
.facts b { font-weight: 600; color: var(--ink); }
.bad { color: var(--bad); }
.scroll { overflow: auto; max-height: 30vh; border-top: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th {
  position: sticky; top: 0; background: var(--back); text-align: left; font-weight: 500; color: var(--soft);
  padding: 5px 8px; white-space: nowrap;
}
td { padding: 3px 8px; border-top: 1px solid var(--line); white-space: nowrap; vertical-align: top; }
td.text { white-space: normal; overflow-wrap: anywhere; min-width: 72px; }
.events td:not(:last-child) { width: 1%; white-space: nowrap; }
.events td { border: 0; font-family: ui-monospace, monospace; font-size: 11px; }
.number { text-align: right; }
.empty { padding: 10px; color: var(--soft); }
`
