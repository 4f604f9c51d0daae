"""What a page lacks for people who hear it, see little or hold a small screen: controls without a name, words without
contrast, parts that reach over the edge.

All are JavaScript expressions that list what is wrong.
"""

UNLABELLED = """[...document.querySelectorAll('input, textarea, select, button')].filter(part => part.offsetParent
  && !(part.labels && part.labels.length) && !part.getAttribute('aria-label') && !part.getAttribute('aria-labelledby')
  && !part.innerText.trim() && !part.title && !part.placeholder).map(part => part.outerHTML.slice(0, 200))"""

# WCAG 2.1, 1.4.3 (AA): the contrast of text is at least 4.5
FAINT = """(() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = value => value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
  const luminance = colour => {
    const [r, g, b] = colour.slice(0, 3).map(value => linear(value / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = part => {
    for (; part; part = part.parentElement) {
      const colour = rgb(getComputedStyle(part).backgroundColor);
      if (colour.length && (colour.length < 4 || colour[3] > .5)) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = part => {
    const a = luminance(rgb(getComputedStyle(part).color)), b = luminance(behind(part));
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  };
  const hasText = part => [...part.childNodes].some(node => node.nodeType == 3 && node.data.trim());
  return [...document.querySelectorAll('.gradio-container *')]
    .filter(part => part.offsetParent && !part.disabled && hasText(part) && contrast(part) < 4.5)
    .map(part => [part.innerText.slice(0, 40), contrast(part), part.className]);
})()"""

# A table may be wider than its frame, which scrolls
CUT = """[...document.querySelectorAll('.gradio-container *')].filter(part => part.offsetParent
  && !part.closest('table') && part.getBoundingClientRect().width
  && part.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(part => part.outerHTML.slice(0, 99))"""
