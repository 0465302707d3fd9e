package main

import (
	"fmt"
	"html"
	"strings"
)

// The chart has a panel a job, and in it a bar a row: calls a second, × the
// base, with a whisker from the least to the most.
const (
	panels      = 3 // side by side
	labelWidth  = 170
	barWidth    = 200
	panelWidth  = labelWidth + barWidth + 60
	lineHeight  = 18
	panelMargin = 44
	colors      = "text{font:12px sans-serif;fill:#222}.job{font-weight:bold}.us{fill:#2f6fde}.them{fill:#b8bec9}.base{stroke:#222;stroke-dasharray:3 2}.whisker{stroke:#222}"
)

func (r *results) chart() string {
	var body strings.Builder
	y, tallest := 10, 0
	for i, job := range r.jobNames() {
		if i%panels == 0 {
			y, tallest = y+tallest, 0
		}
		tallest = max(tallest, len(r.rowNames(job))*lineHeight+panelMargin)
		fmt.Fprintf(&body, "<g transform=\"translate(%d %d)\">\n", 10+i%panels*panelWidth, y)
		r.panel(&body, job)
		body.WriteString("</g>\n")
	}
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\">\n<style>%s</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n%s</svg>\n",
		panels*panelWidth+20, y+tallest, colors, body.String())
}

func (r *results) panel(b *strings.Builder, job string) {
	names := r.rowNames(job)
	spreads := make([]spread, len(names))
	longest := 1.0
	for i, row := range names {
		spreads[i] = r.ratio(row, job, sample.perSec)
		longest = max(longest, spreads[i].Max)
	}
	x := func(ratio float64) float64 { return labelWidth + ratio/longest*barWidth }
	fmt.Fprintf(b, "<text class=\"job\" y=\"12\">%s</text>\n", html.EscapeString(job))
	for i, row := range names {
		top, s := 20+i*lineHeight, spreads[i]
		class := "them"
		if strings.HasPrefix(row, "micro") {
			class = "us"
		}
		fmt.Fprintf(b, "<text y=\"%d\">%s</text>", top+12, html.EscapeString(row))
		fmt.Fprintf(b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>", class, labelWidth, top+2, x(s.Median)-labelWidth, lineHeight-5)
		fmt.Fprintf(b, "<path class=\"whisker\" d=\"M%.1f %dH%.1f\"/>", x(s.Min), top+lineHeight/2, x(s.Max))
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\">%.2f</text>\n", x(s.Max)+4, top+12, s.Median)
	}
	fmt.Fprintf(b, "<path class=\"base\" d=\"M%.1f 18V%d\"/>\n", x(1), 20+len(names)*lineHeight)
}
