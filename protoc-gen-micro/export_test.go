package main

// Generate is what main runs, on a request that a test has made.
var (
	Options    = pluginOptions
	Generate   = generate
	ValidTopic = validTopic
	Seconds    = seconds
)
