#!/usr/bin/env bash
# Real Apache Kafka on loopback, in KRaft mode, from the jars on Maven Central.
#
#   .ci/kafka.sh jars VERSION                 fetches the jars into .ci/cache, once
#   .ci/kafka.sh start VERSION DIR PORT       runs a broker in the foreground, until SIGTERM;
#                                             DIR is new and its own, PORT to PORT+2 are free;
#                                             on the last one it wants SASL: the users plain,
#                                             sha256 and sha512, by their mechanisms, and "secret"
#   .ci/kafka.sh cluster VERSION DIR PORT     runs three, on PORT, PORT+2 and PORT+4, each with
#                                             a controller behind it; one that dies is started
#                                             again, and has its process ID in DIR/ID/pid
set -euo pipefail
cd "$(dirname "$0")"

fetch() {
  [[ -d $jars ]] && return
  mkdir -p cache
  tmp=$(mktemp -d cache/fetch.XXXXXX)
  trap 'rm -rf "$tmp"' EXIT
  # Kafka's own dependencies have scope runtime; a backend for slf4j is not
  # among them. From 4 on it is log4j 2.
  local logging='<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>'
  if [[ $version != 3.* ]]; then
    logging='<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>'
  fi
  cat > "$tmp/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    $logging
  </dependencies>
</project>
XML
  local try
  for try in 1 2 3; do
    rm -rf "$tmp/jars"
    if timeout 300 mvn --batch-mode --quiet -Dstyle.color=never --file "$tmp/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$PWD/$tmp/jars" </dev/null; then
      mv "$tmp/jars" "$jars"
      return
    fi
    echo "kafka $version: try $try of 3 failed" >&2
    sleep $((try * 5))
  done
  return 1
}

# configure writes what node $3 of $4 needs into a new folder: dir, port of the
# first, node, nodes.
configure() {
  local dir=$1 first=$2 node=$3 nodes=$4
  local port=$((first + 2 * (node - 1))) voters=() n
  for ((n = 1; n <= nodes; n++)); do voters+=("$n@127.0.0.1:$((first + 2 * n - 1))"); done
  mkdir -p "$dir"
  # A group's first rebalance waits 3 s by default, and the leaders of a broker
  # that has died 9 s: a busy machine makes a living one look dead for 2 or 3.
  # Topics are declared, never made by a typing error.
  cat > "$dir/server.properties" <<P
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$(IFS=,; echo "${voters[*]}")
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/log
num.partitions=1
offsets.topic.num.partitions=3
offsets.topic.replication.factor=$nodes
transaction.state.log.replication.factor=$nodes
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=6000
auto.create.topics.enable=false
P
  cat > "$dir/log4j.properties" <<P
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n
P
  cat > "$dir/log4j2.properties" <<P
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %m (%c)%n
P
  java=(java -Xms256m -Xmx512m -XX:TieredStopAtLevel=1
    "-Dlog4j.configuration=file:$dir/log4j.properties" "-Dlog4j2.configurationFile=file:$dir/log4j2.properties"
    -cp "$jars/*") # the star is java's, not the shell's
}

# format takes the folder and what else there is to say.
format() {
  "${java[@]}" kafka.tools.StorageTool format --cluster-id "$cluster_id" --config "$1/server.properties" "${@:2}"
}

start() {
  configure "$1" "$2" 1 1
  local sasl=$(($2 + 2)) login=org.apache.kafka.common.security
  sed -i -E -e "s|^(listeners=.*)|\1,SASL://127.0.0.1:$sasl|" -e "s|^(advertised.listeners=.*)|\1,SASL://127.0.0.1:$sasl|" \
    -e "s|^(listener.security.protocol.map=.*)|\1,SASL:SASL_PLAINTEXT|" "$1/server.properties"
  cat >> "$1/server.properties" <<P
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_plain="secret";
listener.name.sasl.scram-sha-256.sasl.jaas.config=$login.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
P
  format "$1" --add-scram 'SCRAM-SHA-256=[name=sha256,password=secret]' --add-scram 'SCRAM-SHA-512=[name=sha512,password=secret]'
  exec "${java[@]}" kafka.Kafka "$1/server.properties"
}

cluster() {
  local dir=$1 first=$2 node
  trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
  trap 'exit 143' TERM
  for node in 1 2 3; do
    (
      configure "$dir/$node" "$first" "$node" 3
      format "$dir/$node"
      trap 'kill $! 2>/dev/null; wait; exit' TERM
      while :; do
        "${java[@]}" kafka.Kafka "$dir/$node/server.properties" &
        echo $! >"$dir/$node/pid"
        wait $! || true
        sleep 1 & wait $!
      done
    ) &
  done
  wait
}

version=${2-}
jars=$PWD/cache/kafka-$version
cluster_id=bWljcm8tY2ktY2x1c3Rlcg # 16 bytes in base64: all nodes need the same
case ${1-}:$# in
  jars:2) fetch ;;
  start:4 | cluster:4) mkdir -p "$3"; "$1" "$(cd "$3" && pwd)" "$4" ;;
  *) sed -n '2,/^set /{/^#/p}' "$0" >&2; exit 2 ;;
esac
