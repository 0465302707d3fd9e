# Each target is one command; .ci/run calls the same ones.
MODULE := github.com/grpc-micro/micro
BIN    := $(CURDIR)/.bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## Lists the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: all
all: generate tidy lint test ## What to do before a commit

.PHONY: test
test: ## Runs every test
	go test ./...

.PHONY: race
race: ## Runs every test with the race detector
	go test -race ./...

.PHONY: lint
lint: $(BIN)/golangci-lint ## Checks style and formatting
	$(BIN)/golangci-lint run

.PHONY: bench
bench: ## Runs every benchmark
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: fuzz
fuzz: ## Runs every fuzz target for 30 s
	.ci/fuzz.sh 30s

.PHONY: tidy
tidy: ## Tidies the go.mod of each module
	go mod tidy
	go -C tools mod tidy

.PHONY: tools
tools: ## Builds all tools into .bin
	GOBIN=$(BIN) go install tool
	GOBIN=$(BIN) go -C tools install tool
	mv $(BIN)/server $(BIN)/etcd

$(BIN)/golangci-lint: tools/go.mod
	GOBIN=$(BIN) go -C tools install github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: ci
ci: ## Runs the gate
	bash .ci/run
