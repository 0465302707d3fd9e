#!/usr/bin/env bash
# A real Apache Kafka, one KRaft broker on loopback, from the jars on Maven
# Central.
#
#   .ci/kafka.sh jars              fetches the jars into .ci/cache, once
#   .ci/kafka.sh start DIR PORT    runs the broker in the foreground, until SIGTERM;
#                                  DIR is new and its own, PORT and PORT+1 are free
set -euo pipefail
cd "$(dirname "$0")"

version=3.9.1
jars=$PWD/cache/kafka-$version

fetch() {
  [[ -d $jars ]] && return
  mkdir -p cache
  tmp=$(mktemp -d cache/fetch.XXXXXX)
  trap 'rm -rf "$tmp"' EXIT
  # Kafka's own dependencies have scope runtime; a backend for slf4j is not
  # among them.
  cat > "$tmp/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
XML
  timeout 300 mvn --batch-mode --quiet -Dstyle.color=never --file "$tmp/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$PWD/$tmp/jars" </dev/null
  mv "$tmp/jars" "$jars"
}

start() {
  local dir=$1 port=$2
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  # A group's first rebalance waits 3 s by default, and our tests need no
  # replicas. Topics are declared, never made by a typing error.
  cat > "$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/log
num.partitions=1
offsets.topic.num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
P
  cat > "$dir/log4j.properties" <<P
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n
P
  # The star is java's, not the shell's.
  local java=(java -Xms256m -Xmx512m -XX:TieredStopAtLevel=1 "-Dlog4j.configuration=file:$dir/log4j.properties" -cp "$jars/*")
  "${java[@]}" kafka.tools.StorageTool format --cluster-id "$("${java[@]}" kafka.tools.StorageTool random-uuid)" --config "$dir/server.properties"
  exec "${java[@]}" kafka.Kafka "$dir/server.properties"
}

case ${1-} in
  jars) fetch ;;
  start) start "$2" "$3" ;;
  *) sed -n '2,/^set /{/^#/p}' "$0" >&2; exit 2 ;;
esac
