package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/compiler/protogen"

	microv1 "github.com/grpc-micro/micro/proto/micro/v1"
)

// generateEvent writes an event's topic, with all that the .proto says of it.
func generateEvent(g *protogen.GeneratedFile, m *protogen.Message) {
	event, message := eventOf(m), g.QualifiedGoIdent(m.GoIdent)
	name := m.GoIdent.GoName + "Topic"
	g.P()
	doc(g, name+" is the topic of "+string(m.Desc.Name())+" events: publish and subscribe with it.", m.Desc, m.Comments.Leading)
	newTopic := fmt.Sprintf("%s[%s](%s", g.QualifiedGoIdent(pubsubPackage.Ident("NewTopic")), message, strconv.Quote(event.GetTopic()))
	options := topicOptions(g, m, event)
	if options == nil {
		g.P("var ", name, " = ", newTopic, ")")
		return
	}
	g.P("var ", name, " = ", newTopic, ",")
	for _, option := range options {
		g.P(option, ",")
	}
	g.P(")")
}

func topicOptions(g *protogen.GeneratedFile, m *protogen.Message, event *microv1.Event) []string {
	var options []string
	option := func(name, argument string) {
		options = append(options, g.QualifiedGoIdent(pubsubPackage.Ident(name))+"("+argument+")")
	}
	if key := keyOf(m); key != nil {
		getter, _ := key.MethodName("Get")
		option("WithKey", fmt.Sprintf("func(m *%s) string { return m.%s() }", g.QualifiedGoIdent(m.GoIdent), getter))
	}
	if event.GetEncoding() == microv1.Encoding_ENCODING_JSON {
		option("WithCodec", g.QualifiedGoIdent(codecPackage.Ident("JSON")))
	}
	if policy := retryPolicyOf(g, event.GetRetry()); policy != "" {
		option("WithRetry", g.QualifiedGoIdent(pubsubPackage.Ident("RetryPolicy"))+"{"+policy+"}")
	}
	if event.GetDeadLetter() {
		option("WithDeadLetter", "")
	}
	return options
}

// retryPolicyOf writes the fields that are set; the zero policy is the default.
func retryPolicyOf(g *protogen.GeneratedFile, retry *microv1.Retry) string {
	var fields []string
	if n := retry.GetAttempts(); n != 0 {
		fields = append(fields, fmt.Sprintf("Attempts: %d", n))
	}
	if d := retry.GetInitialBackoff().AsDuration(); d > 0 {
		fields = append(fields, "InitialBackoff: "+duration(g, d))
	}
	if d := retry.GetMaxBackoff().AsDuration(); d > 0 {
		fields = append(fields, "MaxBackoff: "+duration(g, d))
	}
	return strings.Join(fields, ", ")
}

// duration writes d as a reader would: 2 * time.Second.
func duration(g *protogen.GeneratedFile, d time.Duration) string {
	unit := time.Nanosecond
	name := "Nanosecond"
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"Hour", time.Hour}, {"Minute", time.Minute}, {"Second", time.Second}, {"Millisecond", time.Millisecond}, {"Microsecond", time.Microsecond}} {
		if d%u.d == 0 {
			unit, name = u.d, u.name
			break
		}
	}
	text := g.QualifiedGoIdent(timePackage.Ident(name))
	if n := int64(d / unit); n != 1 {
		text = strconv.FormatInt(n, 10) + " * " + text
	}
	return text
}
