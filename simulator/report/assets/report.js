// Draws what the report holds as data: curves by uPlot, the staircase on a canvas.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const GREY = "#DDDDDD";
  const drawn = {};

  function width(place) { return Math.max(place.clientWidth, 320); }

  function number(value) {
    if (value == null) return "–";
    return String(Number(value.toPrecision(4)));
  }

  function curve(place, chart) {
    const series = [{ label: chart.x_label, value: (u, v) => (v == null ? "" : x_text(chart, v)) }];
    chart.lines.forEach(line => series.push({
      label: line.label,
      stroke: line.colour,
      fill: chart.bars || chart.filled ? line.colour + "33" : undefined,
      width: 2,
      points: { show: false },
      paths: chart.bars ? uPlot.paths.bars({ size: [0.9], align: 1 }) : uPlot.paths.stepped({ align: chart.align }),
      // Nothing until a point is shown, which is never in print.
      value: (u, v, i, at) => (at == null ? "" : v == null ? "–" : number(v) + chart.unit + ends(line, at)),
    }));
    const highest = Math.max(0, ...chart.lines.flatMap(line => line.high || []).filter(v => v != null));
    const scales = { x: { time: false }, y: { range: (u, low, high) => [0, Math.max((high || 1) * 1.08, highest)] } };
    const x_axis = { label: chart.x_label, stroke: "#222", grid: { stroke: "#E4E4E4" } };
    // The last bar stands on its bin, too, which ends beyond the last point.
    if (chart.bars) scales.x.range = (u, low, high) => [low, high === chart.x[chart.x.length - 1] ? chart.end : high];
    if (chart.percentiles) {
      scales.x.distr = 3;
      scales.x.range = (u, low, high) => [1, Math.max(high, 2)];
      x_axis.splits = () => chart.ticks.map(p => 100 / (100 - p));
      x_axis.values = () => chart.ticks.map(String);
      x_axis.filter = undefined;
    }
    const plot = new uPlot({
      width: width(place), height: 280, scales, series,
      axes: [x_axis, { label: chart.y_label, stroke: "#222", size: 70, grid: { stroke: "#E4E4E4" } }],
      cursor: { drag: { x: true, y: false } },
      hooks: { drawClear: [u => chart.lines.forEach(line => line.low && band(u, chart.x, line))] },
    }, [chart.x, ...chart.lines.map(line => line.y)], place);
    addEventListener("resize", () => plot.setSize({ width: width(place), height: 280 }));
    return chart.lines.reduce((n, line) => n + line.y.filter(v => v != null).length, 0);
  }

  function ends(line, at) {
    return line.low ? " (" + number(line.low[at]) + " … " + number(line.high[at]) + ")" : "";
  }

  // Between the ends of the intervals, behind the line.
  function band(u, x, line) {
    const c = u.ctx, far = line.low.filter(v => v != null).length;
    const place = (i, y) => [u.valToPos(x[i], "x", true), u.valToPos(y[i], "y", true)];
    c.save();
    c.beginPath();
    c.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    c.clip();
    c.beginPath();
    for (let i = 0; i < far; i++) c.lineTo(...place(i, line.high));
    for (let i = far - 1; i >= 0; i--) c.lineTo(...place(i, line.low));
    c.fillStyle = line.colour + "33";
    c.fill();
    c.restore();
  }

  function x_text(chart, v) {
    return chart.percentiles ? "p" + number(100 - 100 / v) : number(v);
  }

  // Boxes: [first lane, last lane, begin, end, colour]; times in thousandths of the window.
  function staircase(place, chart) {
    const canvas = document.createElement("canvas"), tip = document.createElement("div");
    tip.className = "tip";
    place.append(canvas, tip);
    const left = 70, right = 26, bottom = 40, top = 8, height = Math.min(480, 220 + chart.lanes * 4);
    function draw() {
      const wide = width(place), ratio = window.devicePixelRatio || 1;
      canvas.style.width = wide + "px"; canvas.style.height = height + "px";
      canvas.width = wide * ratio; canvas.height = height * ratio;
      const c = canvas.getContext("2d");
      c.scale(ratio, ratio);
      c.fillStyle = "#fff"; c.fillRect(0, 0, wide, height);
      const across = (wide - left - right) / chart.span, down = (height - top - bottom) / chart.lanes;
      for (const [first, last, begin, end, colour] of chart.boxes) {
        c.fillStyle = colour < 0 ? GREY : chart.colours[colour];
        const gap = down > 3 ? 0.5 : 0;
        c.fillRect(left + begin * across, top + first * down, Math.max((end - begin) * across - 0.3, 0.5),
          (last - first + 1) * down - gap);
      }
      c.fillStyle = "#222"; c.font = "12px system-ui, sans-serif"; c.textAlign = "center";
      for (const [at, text] of chart.ticks) {
        const x = left + at * across;
        c.fillRect(x, height - bottom, 1, 4);
        c.fillText(text, x, height - bottom + 17);
      }
      c.fillText(chart.x_label, left + (wide - left) / 2, height - 5);
      c.textAlign = "right";
      const step = Math.max(Math.ceil(chart.lanes / 5), 1);
      for (let lane = 0; lane < chart.lanes; lane += step) {
        c.fillText(String(lane), left - 6, top + lane * down + Math.min(down, 12));
      }
      c.save(); c.translate(12, height / 2); c.rotate(-Math.PI / 2); c.textAlign = "center";
      c.fillText(chart.y_label, 0, 0); c.restore();
    }
    canvas.addEventListener("mousemove", event => {
      const box = canvas.getBoundingClientRect(), wide = width(place);
      const at = (event.clientX - box.left - left) / (wide - left - right) * chart.span;
      const lane = Math.floor((event.clientY - box.top - top) / ((height - top - bottom) / chart.lanes));
      const hit = chart.boxes.find(b => b[0] <= lane && lane <= b[1] && b[2] <= at && at < b[3]);
      tip.style.display = hit ? "block" : "none";
      if (!hit) return;
      const words = hit[4] < 0 ? "waits " : "holds ";
      tip.textContent = chart.lane + " " + lane + " " + words + number((hit[3] - hit[2]) / chart.per_unit) +
        chart.unit + ", from " + number(chart.begin + hit[2] / chart.per_unit) + chart.unit;
      tip.style.left = Math.min(event.clientX - box.left + 12, wide - 260) + "px";
      tip.style.top = event.clientY - box.top + 12 + "px";
    });
    canvas.addEventListener("mouseleave", () => { tip.style.display = "none"; });
    draw();
    addEventListener("resize", draw);
    return chart.boxes.length;
  }

  for (const place of document.querySelectorAll("[data-chart]")) {
    const chart = data[place.dataset.chart];
    drawn[place.dataset.chart] = chart.boxes ? staircase(place, chart) : curve(place, chart);
    place.dataset.points = drawn[place.dataset.chart];
  }
})();
