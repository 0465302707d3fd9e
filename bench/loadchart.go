package main

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// The chart has a line of panels a curve, and in each panel a line a row, with
// both axes in powers of ten but for the ratios'.
const (
	plotWidth  = 190
	plotHeight = 120
	plotSpace  = 70 // between panels, for the labels
	loadColors = "text{font:11px sans-serif;fill:#222}.title{font-weight:bold}.axis{stroke:#b8bec9;fill:none}.row0{stroke:#222}.row1{stroke:#2f6fde}.row2{stroke:#e07b39}.row3{stroke:#3a9e5c}path{fill:none;stroke-width:1.5}"
)

func (r *loadResults) chart() string {
	var body strings.Builder
	y, widest := 30, 0
	for _, curve := range curves {
		x := 60
		for _, c := range r.columns(curve.name) {
			if !c.chart {
				continue
			}
			fmt.Fprintf(&body, "<g transform=\"translate(%d %d)\">\n", x, y)
			r.plot(&body, curve, c)
			body.WriteString("</g>\n")
			x += plotWidth + plotSpace
			widest = max(widest, x)
		}
		if x > 60 {
			r.legend(&body, curve.name, y+plotHeight+34)
			y += plotHeight + plotSpace + 24
		}
	}
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\">\n<style>%s</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n%s</svg>\n", widest, y, loadColors, body.String())
}

func (r *loadResults) legend(b *strings.Builder, curve string, y int) {
	for i, row := range r.rows(curve) {
		fmt.Fprintf(b, "<path class=\"row%d\" d=\"M%d %dh20\"/><text x=\"%d\" y=\"%d\">%s</text>\n", i, 60+i*200, y-4, 86+i*200, y, html.EscapeString(row))
	}
}

// scale maps what lies between two values to a length.
type scale struct {
	least, most float64
	length      float64
	log         bool
}

func newScale(values []float64, length float64, log bool) scale {
	s := scale{math.Inf(1), math.Inf(-1), length, log}
	for _, v := range values {
		s.least, s.most = min(s.least, v), max(s.most, v)
	}
	if !log { // ratios: from nothing, with 1 in sight
		s.least, s.most = 0, max(s.most, 1)*1.1
	}
	if s.most == s.least {
		s.most = s.least * 2
	}
	return s
}

func (s scale) at(v float64) float64 {
	if s.log {
		return math.Log(v/s.least) / math.Log(s.most/s.least) * s.length
	}
	return (v - s.least) / (s.most - s.least) * s.length
}

// plot draws one column of a curve. What is a ratio in the table is one here,
// and raw is where it is 1.
func (r *loadResults) plot(b *strings.Builder, curve curve, c loadColumn) {
	points, rows := r.points(curve.name), r.rows(curve.name)
	value := func(at int, row string) float64 {
		if c.kind == ratio && row == callsBase {
			return 1
		}
		return r.figure(c, curve.name, at, row).Median
	}
	xs := make([]float64, 0, len(points))
	var ys []float64
	for _, at := range points {
		xs = append(xs, float64(at))
		for _, row := range rows {
			if v := value(at, row); !math.IsNaN(v) {
				ys = append(ys, v)
			}
		}
	}
	title, format := c.name, c.format
	if c.kind == ratio {
		title, format = c.name+" × raw's", func(f float64) string { return fmt.Sprintf("%.2f", f) }
	}
	x, y := newScale(xs, plotWidth, true), newScale(ys, plotHeight, c.kind != ratio)
	fmt.Fprintf(b, "<text class=\"title\" y=\"-8\">%s: %s</text>\n<path class=\"axis\" d=\"M0 0V%dH%d\"/>\n", curve.name, html.EscapeString(title), plotHeight, plotWidth)
	fmt.Fprintf(b, "<text x=\"-4\" y=\"%d\" text-anchor=\"end\">%s</text><text x=\"-4\" y=\"8\" text-anchor=\"end\">%s</text>\n", plotHeight, format(y.least), format(y.most))
	for _, at := range points {
		fmt.Fprintf(b, "<text x=\"%.0f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x.at(float64(at)), plotHeight+14, short(at))
	}
	for i, row := range rows {
		var path strings.Builder
		for _, at := range points {
			if v := value(at, row); !math.IsNaN(v) {
				fmt.Fprintf(&path, "L%.1f %.1f", x.at(float64(at)), plotHeight-y.at(v))
			}
		}
		if path.Len() > 0 {
			fmt.Fprintf(b, "<path class=\"row%d\" d=\"M%s\"/>\n", i, path.String()[1:])
		}
	}
}

// short writes 16384 as 16K.
func short(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%dM", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%dK", n>>10)
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprintf("%dk", n/1000)
	}
	return strconv.Itoa(n)
}
