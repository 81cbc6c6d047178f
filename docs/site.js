// The theme puts each table into an element that scrolls; with a tab stop it can be scrolled from the keyboard too.
function reach() {
  for (const each of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) {
    each.tabIndex = 0;
  }
}

new MutationObserver(reach).observe(document.body, { childList: true, subtree: true });
reach();
