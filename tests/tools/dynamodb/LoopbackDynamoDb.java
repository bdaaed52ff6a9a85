// SPDX-License-Identifier: MIT
// DynamoDB Local that listens on 127.0.0.1 only: its own ServerRunner takes every interface. Arguments are those of
// ServerRunner; with -port 0 the kernel chooses. Prints "listening PORT" when it answers.
import com.amazonaws.services.dynamodbv2.local.main.ServerRunner;
import com.amazonaws.services.dynamodbv2.local.server.DynamoDBProxyServer;
import java.lang.reflect.Field;
import org.eclipse.jetty.server.Connector;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

public class LoopbackDynamoDb {
  public static void main(String[] args) throws Exception {
    DynamoDBProxyServer proxy = ServerRunner.createServerFromCommandLineArgs(args);
    Field field = DynamoDBProxyServer.class.getDeclaredField("server");
    field.setAccessible(true);
    ServerConnector connector = null;
    for (Connector one : ((Server) field.get(proxy)).getConnectors()) {
      connector = (ServerConnector) one;
      connector.setHost("127.0.0.1");
    }
    proxy.start();
    System.out.println("listening " + connector.getLocalPort());
    proxy.join();
  }
}
