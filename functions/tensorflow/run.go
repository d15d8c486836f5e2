package tensorflow

import (
	"context"
	"maps"
	"slices"

	tf "github.com/galeone/tensorflow/tensorflow/go"

	"weir.dev/weir/functions/model"
)

// Predict runs one request when its turn comes. A run cannot be broken off: when ctx ends Predict returns, and the run ends by
// itself.
func (m *savedModel) Predict(ctx context.Context, req model.Request) (model.Response, error) {
	sig, err := m.meta.Resolve(req)
	if err != nil {
		return model.Response{}, err
	}
	if sig.TakesImage() {
		name := sig.Inputs[0].Name
		pictures, err := m.readableImages(req.Inputs[name])
		if err != nil {
			return model.Response{}, err
		}
		req.Inputs = map[string]model.Tensor{name: pictures}
	}
	m.runs.Add(1)
	defer m.runs.Done()
	select {
	case m.places <- struct{}{}:
	case <-ctx.Done():
		return model.Response{}, ctx.Err()
	}
	if ctx.Done() == nil {
		return m.run(sig, req)
	}
	type result struct {
		resp model.Response
		err  error
	}
	done := make(chan result, 1)
	m.runs.Go(func() {
		resp, err := m.run(sig, req)
		done <- result{resp, err}
	})
	select {
	case r := <-done:
		return r.resp, r.err
	case <-ctx.Done():
		return model.Response{}, ctx.Err()
	}
}

// run feeds a valid request to the session, and gives its place back.
func (m *savedModel) run(sig model.Signature, req model.Request) (model.Response, error) {
	defer func() { <-m.places }()
	e, inputs := m.endpoints[sig.Name], req.Inputs
	if m.images != nil && sig.Name == ImageSignature {
		pixels, err := m.images.pixels(req.Inputs[imageInput])
		if err != nil {
			return model.Response{}, err
		}
		inputs = map[string]model.Tensor{m.images.input: pixels}
	}
	feeds := make(map[tf.Output]*tf.Tensor, len(inputs))
	defer func() {
		for _, t := range feeds {
			m.convert.reuse.release(t)
		}
	}()
	for name, t := range inputs {
		feed, err := m.convert.toTF(t)
		if err != nil {
			return model.Response{}, err
		}
		feeds[e.inputs[name]] = feed
	}
	names := req.Outputs
	if len(names) == 0 {
		names = slices.Collect(maps.Keys(e.outputs))
	}
	fetches := make([]tf.Output, len(names))
	for i, name := range names {
		fetches[i] = e.outputs[name]
	}
	var fetched []*tf.Tensor
	if err := guard(func() { fetched = m.session.Exec(fetches, feeds) }); err != nil {
		return model.Response{}, runError(err)
	}
	defer freeAll(fetched)
	resp := model.Response{Outputs: make(map[string]model.Tensor, len(names))}
	for i, name := range names {
		t, err := fromTF(fetched[i])
		if err != nil {
			return model.Response{}, err
		}
		resp.Outputs[name] = t
	}
	return resp, nil
}
