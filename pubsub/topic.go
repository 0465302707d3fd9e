package pubsub

type topicOptions struct {
	subscribe []SubscribeOption
}
