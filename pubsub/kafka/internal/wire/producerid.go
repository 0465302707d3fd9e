package wire

import (
	"io"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
)

// InitProducer is a request for a producer's ID, of any server. kafka-go's own
// asks the coordinator of transactions, which a producer without transactions
// does not have.
type InitProducer struct {
	clientID string
	version  int16

	// What came of it.
	Producer Producer
	Err      error
}

var _ protocol.RawExchanger = (*InitProducer)(nil)

// NewInitProducer returns a request.
func NewInitProducer(clientID string) *InitProducer { return &InitProducer{clientID: clientID} }

// ApiKey implements [protocol.Message].
func (*InitProducer) ApiKey() protocol.ApiKey { return protocol.InitProducerId } //nolint:revive // kafka-go's name

// Required implements [protocol.RawExchanger].
func (p *InitProducer) Required(versions map[protocol.ApiKey]int16) bool {
	version, ok := versions[protocol.InitProducerId]
	p.version = version
	if !ok {
		p.version = -1
	}
	return true
}

// RawExchange implements [protocol.RawExchanger].
func (p *InitProducer) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if p.version < 0 {
		p.Err = kafkago.UnsupportedVersion
		return p, nil
	}
	answer, err := protocol.RoundTrip(rw, p.version, correlation, p.clientID, &initproducerid.Request{ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return nil, err
	}
	r := answer.(*initproducerid.Response)
	p.Err = failure(r.ErrorCode, "")
	p.Producer = Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch, Known: p.Err == nil}
	return p, nil
}
