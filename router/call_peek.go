package router

import (
	"net/http"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/router/route"
)

// modelName is what a message says of the model it is for.
type modelName struct {
	name, version, label string
}

// Fields of tensorflow.serving.ModelSpec and of google.protobuf.Int64Value.
const (
	specName    = 1
	specVersion = 2
	specLabel   = 4
	wrapped     = 1
)

func malformed() error {
	return &server.Error{Status: http.StatusBadRequest, Message: "the call's message is not one of protocol buffers"}
}

// find looks for the model's name in the beginning of a message. It has seen enough when it has the name and comes to a
// field behind it: messages are written in the order of their fields. In another order it has to see the whole message.
func (f modelField) find(message []byte, whole bool) (found modelName, enough bool, err error) {
	last := max(f.name, f.version)
	if len(f.spec) > 0 {
		last = f.spec[0]
	}
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return found, false, cut(whole)
		}
		if num > last && found.name != "" {
			return found, true, nil
		}
		value := message[n:]
		size := protowire.ConsumeFieldValue(num, typ, value)
		if size < 0 {
			return found, false, cut(whole)
		}
		if typ == protowire.BytesType {
			bytes, _ := protowire.ConsumeBytes(value)
			if err := f.take(num, bytes, &found); err != nil {
				return found, false, err
			}
		}
		message = value[size:]
	}
	return found, whole, nil
}

// cut is what an unreadable field means: that more of the message is needed, or that it is broken.
func cut(whole bool) error {
	if whole {
		return malformed()
	}
	return nil
}

// take reads a field of the message.
func (f modelField) take(num protowire.Number, value []byte, into *modelName) error {
	switch {
	case len(f.spec) > 0 && num == f.spec[0]:
		if len(f.spec) == 1 {
			return into.readSpec(value)
		}
		inner, _, err := modelField{spec: f.spec[1:]}.find(value, true)
		if into.name == "" {
			*into = inner // the first of several tasks
		}
		return err
	case len(f.spec) > 0:
	case num == f.name:
		into.name = string(value)
	case num == f.version && f.version != 0:
		into.version = string(value)
	}
	return nil
}

// readSpec reads a ModelSpec.
func (m *modelName) readSpec(spec []byte) error {
	return eachField(spec, func(num protowire.Number, typ protowire.Type, value []byte) error {
		if typ != protowire.BytesType {
			return nil
		}
		text, _ := protowire.ConsumeBytes(value)
		switch num {
		case specName:
			m.name = string(text)
		case specVersion:
			return m.readVersion(text)
		case specLabel:
			m.label, m.version = string(text), ""
		}
		return nil
	})
}

// readVersion reads an Int64Value, which leaves out a zero.
func (m *modelName) readVersion(value []byte) error {
	v := uint64(0)
	err := eachField(value, func(num protowire.Number, typ protowire.Type, value []byte) error {
		if num == wrapped && typ == protowire.VarintType {
			v, _ = protowire.ConsumeVarint(value)
		}
		return nil
	})
	m.version, m.label = strconv.FormatInt(int64(v), 10), ""
	return err
}

// eachField gives take the fields of a message that is there whole, each with its value as it is encoded.
func eachField(message []byte, take func(num protowire.Number, typ protowire.Type, value []byte) error) error {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return malformed()
		}
		size := protowire.ConsumeFieldValue(num, typ, message[n:])
		if size < 0 {
			return malformed()
		}
		if err := take(num, typ, message[n:n+size]); err != nil {
			return err
		}
		message = message[n+size:]
	}
	return nil
}

// hints says where the message goes.
func (m modelName) hints() (route.Hints, error) {
	h := route.Hints{Model: clip(m.name), Tag: clip(m.label)}
	if m.name == "" {
		return h, &server.Error{Status: http.StatusBadRequest, Message: "the call's message names no model: GET /v1/models lists the models"}
	}
	if m.version != "" {
		var err error
		if h.Version, err = parseVersion(m.version); err != nil {
			return h, err
		}
	}
	return h, nil
}
