package main

import (
	"strconv"
	"time"

	"google.golang.org/protobuf/compiler/protogen"

	microv1 "github.com/grpc-micro/micro/proto/micro/v1"
)

// generateEvent writes an event's topic, with all that the .proto says of it.
func generateEvent(g *protogen.GeneratedFile, m *protogen.Message) {
	event, message := eventOf(m), g.QualifiedGoIdent(m.GoIdent)
	name := m.GoIdent.GoName + "Topic"
	g.P()
	doc(g, name+" is the topic of "+string(m.Desc.Name())+" events: publish and subscribe with it.", m.Comments.Leading)
	g.P("var ", name, " = ", pubsubPackage.Ident("NewTopic"), "[", message, "](", strconv.Quote(event.GetTopic()), ",")
	if key := keyOf(m); key != nil {
		getter, _ := key.MethodName("Get")
		g.P(pubsubPackage.Ident("WithKey"), "(func(m *", message, ") string { return m.", getter, "() }),")
	}
	if event.GetEncoding() == microv1.Encoding_ENCODING_JSON {
		g.P(pubsubPackage.Ident("WithCodec"), "(", codecPackage.Ident("JSON"), "),")
	}
	generateRetry(g, event.GetRetry())
	if event.GetDeadLetter() {
		g.P(pubsubPackage.Ident("WithDeadLetter"), "(),")
	}
	g.P(")")
}

func generateRetry(g *protogen.GeneratedFile, retry *microv1.Retry) {
	if retry == nil {
		return
	}
	g.P(pubsubPackage.Ident("WithRetry"), "(", pubsubPackage.Ident("RetryPolicy"), "{")
	if n := retry.GetAttempts(); n != 0 {
		g.P("Attempts: ", n, ",")
	}
	if d := retry.GetInitialBackoff().AsDuration(); d > 0 {
		g.P("InitialBackoff: ", duration(g, d), ",")
	}
	if d := retry.GetMaxBackoff().AsDuration(); d > 0 {
		g.P("MaxBackoff: ", duration(g, d), ",")
	}
	g.P("}),")
}

// duration writes d as a reader would: 2 * time.Second.
func duration(g *protogen.GeneratedFile, d time.Duration) string {
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"Hour", time.Hour}, {"Minute", time.Minute}, {"Second", time.Second}, {"Millisecond", time.Millisecond}, {"Microsecond", time.Microsecond}, {"Nanosecond", time.Nanosecond}} {
		if d%unit.d == 0 {
			text := g.QualifiedGoIdent(timePackage.Ident(unit.name))
			if n := int64(d / unit.d); n != 1 {
				text = strconv.FormatInt(n, 10) + " * " + text
			}
			return text
		}
	}
	return "" // every duration is so many nanoseconds
}
