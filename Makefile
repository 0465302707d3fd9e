# Each target is one command; .ci/run calls the same ones.
MODULE := github.com/grpc-micro/micro
BIN    := $(CURDIR)/.bin

PROTOC := PATH=$(BIN):$$PATH protoc --go_out=. --go_opt=module=$(MODULE)

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

# The annotations come first: protoc-gen-micro is built with them. Its golden
# files come last.
.PHONY: generate
generate: ## Generates the Go code of every .proto
	GOBIN=$(BIN) go install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	$(PROTOC) -I proto $(shell find proto -name '*.proto')
	GOBIN=$(BIN) go install ./protoc-gen-micro
	$(PROTOC) --go-grpc_out=. --go-grpc_opt=module=$(MODULE) --micro_out=. --micro_opt=module=$(MODULE) -I . -I proto $(shell find examples -name '*.proto')
	go test ./protoc-gen-micro -run '^TestGolden$$' -update

# Which protoc it was does not matter.
.PHONY: checkgenerate
checkgenerate: generate ## Checks that the generated code is up to date
	git diff --exit-code -I '^//.*protoc  *v' -- '*.pb.go' '*.micro.go'
	@test -z "$$(git ls-files --others --exclude-standard '*.pb.go' '*.micro.go')" || { echo 'generated, but not in git: git add it'; exit 1; }

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

.PHONY: tutorial
tutorial: ## Follows the README's tutorial, as written, in an empty folder
	.ci/tutorial.sh

.PHONY: ci
ci: ## Runs the gate
	bash .ci/run
